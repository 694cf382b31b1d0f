package guard

import (
	"slices"
	"strings"

	"github.com/posthorn/posthorn/store"
)

// RefuseOwnTables says why a handler must not run a query, because it would
// change a table of Posthorn's. It is for the slip of a hand: what is hidden in
// a function gets past it. Reading is allowed.
func (x Syntax) RefuseOwnTables(query string, names store.Names) string {
	var words []string
	for rest := query; rest != ""; {
		var token string
		token, rest = x.next(rest)
		name := strings.ToLower(strings.Trim(token, "\"`"))
		switch {
		case token == "" || slices.Contains([]string{"only", "if", "not", "exists", "ignore"}, name):
		case token == ";":
			words = nil
		case token == "." && len(words) > 0: // the word before is a schema
			words = words[:len(words)-1]
		case changes(words) && names.Own(name):
			return name + " is Posthorn's own"
		default:
			words = append(words, name)
		}
	}
	return ""
}

// changes reports whether what follows these words is changed by the statement.
func changes(words []string) bool {
	n := len(words)
	if n == 0 {
		return false
	}
	switch words[n-1] {
	case "into", "update", "table", "truncate", "index", "view", "trigger", "sequence":
		return true
	case "from":
		return n > 1 && words[n-2] == "delete"
	case "on":
		return slices.Contains([]string{"create", "grant", "revoke"}, words[0])
	}
	return false
}
