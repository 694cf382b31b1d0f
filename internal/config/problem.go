package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rivo/uniseg"

	"github.com/posthorn/posthorn/internal/printable"
)

// The codes of problems. They are stable: scripts may rely on them.
const (
	CodeKey       = "E-CONFIG-KEY"       // a key that does not exist
	CodeDuplicate = "E-CONFIG-DUPLICATE" // a key or a queue twice
	CodeType      = "E-CONFIG-TYPE"      // a list where a text belongs, and the like
	CodeValue     = "E-CONFIG-VALUE"     // a value that makes no sense
	CodeReference = "E-CONFIG-REFERENCE" // a transport that is not defined
	CodeVariable  = "E-CONFIG-VARIABLE"  // ${NAME} that is not set
	CodeSyntax    = "E-CONFIG-SYNTAX"    // not YAML
	CodeFile      = "E-CONFIG-FILE"      // a file that cannot be read
)

// A Problem is one fault of the configuration.
type Problem struct {
	Code    string
	Title   string // what happened, short
	What    string // the details
	Where   string // file:line:column, an environment variable or a flag
	Excerpt string // the line with a caret under the fault; empty without a file
	Try     string

	line int
}

// An Error is everything that is wrong with a configuration; there is at least
// one problem, in the order of the file.
type Error struct{ Problems []Problem }

// Error gives the problems in one line each.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.Where + ": " + p.What
	}
	return strings.Join(lines, "\n")
}

// problems collects faults with their places in the text.
type problems struct {
	file  string
	lines []string
	found []Problem
}

// at adds a problem at a line and column, which count from 1.
func (ps *problems) at(p position, problem Problem) {
	problem.Where, problem.line = p.String(), p.line
	if p.line > 0 && p.line <= len(ps.lines) {
		problem.Excerpt = excerpt(ps.lines[p.line-1], p.line, p.column)
	}
	ps.found = append(ps.found, problem)
}

// err is the *Error of what was found, or nil.
func (ps *problems) err() error {
	if len(ps.found) == 0 {
		return nil
	}
	slices.SortStableFunc(ps.found, func(a, b Problem) int { return cmp.Compare(a.line, b.line) })
	return &Error{Problems: ps.found}
}

// maxExcerpt bounds a line that is shown.
const maxExcerpt = 160

// hideToken hides what a line of the file says of a secret, and what follows that.
func hideToken(line string) string {
	first := -1
	for _, key := range []string{"token:", "secret:", "password:", "url:", "http://", "https://"} {
		if i := strings.Index(line, key); i >= 0 && (first < 0 || i+len(key) < first) {
			first = i + len(key)
		}
	}
	if first < 0 {
		return line
	}
	return line[:first] + " " + hidden
}

// excerpt shows a line with a caret. What may be a secret is hidden, and then
// the caret may have no place.
func excerpt(line string, number, column int) string {
	runes := []rune(line)
	if len(runes) > maxExcerpt {
		runes = append(runes[:maxExcerpt:maxExcerpt], '…')
	}
	shown := hideSecrets(hideToken(string(runes)))
	margin := fmt.Sprintf("%4d | ", number)
	out := margin + printable.Text(shown)
	if column < 1 || column > len(runes)+1 {
		return out
	}
	before := string(runes[:column-1])
	if !strings.HasPrefix(shown, before) {
		return out
	}
	pad := strings.Repeat(" ", uniseg.StringWidth(printable.Text(before)))
	return out + "\n     | " + pad + "^"
}

// A position is where a value comes from.
type position struct {
	file         string // with line and column
	line, column int
	variable     string // the environment variable that gave it, or that the file's text names
	flag         string
}

// String says it in the words of an error message.
func (p position) String() string {
	switch {
	case p.flag != "":
		return "flag --" + p.flag
	case p.line > 0 && p.variable != "":
		return fmt.Sprintf("%s:%d:%d (from env %s)", p.file, p.line, p.column, p.variable)
	case p.line > 0:
		return fmt.Sprintf("%s:%d:%d", p.file, p.line, p.column)
	case p.variable != "":
		return "env " + p.variable
	case p.file != "":
		return p.file
	default:
		return "default"
	}
}
