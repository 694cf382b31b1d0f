package store

import (
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"strings"
)

// Names say what the tables of a store are called, so that several stores fit
// into one database, beside tables of others. The zero value is the default.
type Names struct {
	Schema string // of PostgreSQL; empty means where the search path leads
	Prefix string // of tables and indexes; empty means "posthorn_"
}

// The parameters of an address that Names are read from, and the prefix that is
// written in statements.
const (
	schemaParam   = "schema"
	prefixParam   = "prefix"
	defaultPrefix = "posthorn_"
)

// nameForm is what a schema and a prefix look like: no server folds or quotes
// such a name, and the longest name of an index stays below 63 bytes.
var nameForm = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,31}$`)

// ownName matches the names of Posthorn's tables and of their indexes.
var ownName = regexp.MustCompile(
	`\bposthorn_(message|lease|letter|revision|attempt|group|worker|control|pause|document|audit|audited|operation|` +
		`target|meta|migration|offer)(_\w+)?\b`)

// TakeNames reads the names out of an address's parameters, and removes them
// there. The error is ErrDSN.
func TakeNames(q url.Values) (Names, error) {
	n := Names{Schema: q.Get(schemaParam), Prefix: q.Get(prefixParam)}
	for param, name := range map[string]string{schemaParam: n.Schema, prefixParam: n.Prefix} {
		if q.Has(param) && !nameForm.MatchString(name) {
			return Names{}, fmt.Errorf("%w: %s wants up to 32 lower-case letters, digits and '_', and no digit first",
				ErrDSN, param)
		}
		q.Del(param)
	}
	if n.Prefix == defaultPrefix {
		n.Prefix = ""
	}
	return n, nil
}

// In writes the names into a statement, which has the default ones.
func (n Names) In(stmt string) string {
	if n == (Names{}) {
		return stmt
	}
	stmt = ownName.ReplaceAllStringFunc(stmt, func(name string) string {
		if isIndex := strings.Contains(name[len(defaultPrefix):], "_"); isIndex {
			return n.prefix() + name[len(defaultPrefix):]
		}
		return n.Table(name)
	})
	if n.Schema != "" { // an index is made where its table is, and is dropped where the search path leads
		stmt = strings.ReplaceAll(stmt, dropIndex+n.prefix(), dropIndex+n.Table(""))
	}
	return stmt
}

const dropIndex = "drop index "

// Table is what one of the tables is called, with its schema; name is the
// default one.
func (n Names) Table(name string) string {
	name = n.prefix() + strings.TrimPrefix(name, defaultPrefix)
	if n.Schema == "" {
		return name
	}
	return `"` + n.Schema + `".` + name
}

// Own reports whether a table of this name, without its schema, is Posthorn's.
// Case does not matter. All that begins with "posthorn_" is reserved where that
// is the prefix; another prefix may be that of an application's own tables.
func (n Names) Own(name string) bool {
	rest, ok := strings.CutPrefix(strings.ToLower(name), n.prefix())
	if ok && n.Prefix == "" {
		return true
	}
	return ok && ownName.FindString(defaultPrefix+rest) == defaultPrefix+rest
}

// Channel is what notifications for this store go by.
func (n Names) Channel() string {
	if n.Schema == "" {
		return n.prefix() + "wake"
	}
	return n.prefix() + "wake_" + n.Schema
}

func (n Names) prefix() string {
	if n.Prefix == "" {
		return defaultPrefix
	}
	return n.Prefix
}

// Of writes the names into all statements.
func (n Names) Of(s Statements) Statements {
	if n == (Names{}) {
		return s
	}
	v := reflect.ValueOf(&s).Elem()
	for i := range v.NumField() {
		v.Field(i).SetString(n.In(v.Field(i).String()))
	}
	return s
}
