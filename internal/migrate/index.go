package migrate

import (
	"regexp"
	"slices"
	"strings"
)

// An Index is an index that the migrations make.
type Index struct {
	Name string
	SQL  string // makes it again
}

// indexStatement matches the statements that make and drop indexes.
var indexStatement = regexp.MustCompile(
	`(?is)\b(?:create\s+(?:unique\s+)?index\s+(?:if\s+not\s+exists\s+)?(\w+)\s+on\s[^;]*|` +
		`drop\s+index\s+(?:if\s+exists\s+)?(\w+)[^;]*);`)

// Indexes lists the indexes that a database has after the migrations that were
// applied to it, in the order in which they were made.
func Indexes(ms []Migration) []Index {
	var applied strings.Builder
	for _, m := range ms {
		if !m.AppliedAt.IsZero() {
			applied.WriteString(m.SQL)
		}
	}
	var out []Index
	for _, found := range indexStatement.FindAllStringSubmatch(applied.String(), -1) {
		statement, made, dropped := found[0], found[1], found[2]
		if made != "" {
			out = append(out, Index{Name: made, SQL: strings.Join(strings.Fields(statement), " ")})
		}
		out = slices.DeleteFunc(out, func(x Index) bool { return x.Name == dropped })
	}
	return out
}

// Pending lists the migrations that have not been applied.
func Pending(ms []Migration) []Migration {
	return slices.DeleteFunc(slices.Clone(ms), func(m Migration) bool { return !m.AppliedAt.IsZero() })
}
