package mysql

import (
	"cmp"
	"strings"

	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/guard"
)

// refuse says why a handler must not run a statement: it would end the
// transaction, by itself or by the commit that the server adds
// (https://dev.mysql.com/doc/refman/8.4/en/implicit-commit.html), or change the
// server for everybody. A procedure that may do so runs apart from others (mayEnd), and
// is found by its unit's savepoint.
func refuse(query string, names store.Names) string {
	why := cmp.Or(guard.MySQL.RefuseTransactionControl(query), guard.MySQL.RefuseOwnTables(query, names))
	if why != "" {
		return why
	}
	if disguised(query) {
		return "what the server runs of a comment depends on its version: it might end the handler's transaction"
	}
	words := firstWords(query)
	switch words[0] {
	case "create", "drop":
		if words[1] == "temporary" || words[1] == "or" && words[3] == "temporary" { // the inspection finds it
			return ""
		}
	case "load":
		if words[1] != "index" {
			return ""
		}
	case "set":
		return refuseSet(words)
	case "alter", "rename", "truncate", "grant", "revoke", "install", "uninstall", "analyze", "check", "optimize",
		"repair", "cache", "flush", "reset", "lock", "unlock", "stop", "change", "import", "shutdown", "clone":
	default:
		return ""
	}
	return words[0] + " would commit the handler's transaction"
}

// harmless reports whether a verb cannot end a transaction, whatever follows it. What a
// query or DO calls is functions, and what a change starts is triggers; neither can commit
// (https://dev.mysql.com/doc/refman/8.4/en/stored-program-restrictions.html).
func harmless(verb string) bool {
	switch verb {
	case "select", "insert", "replace", "update", "delete", "with", "values", "do":
		return true
	}
	return false
}

// disguised reports whether what a statement does may depend on the version of the
// server, which runs the text of a comment, /*!99999 … */, or does not
// (https://dev.mysql.com/doc/refman/8.4/en/comments.html). The verb must not, and
// behind one that is not harmless nothing must.
func disguised(query string) bool {
	if !strings.Contains(query, "/*!") && !strings.Contains(query, "/*M!") {
		return false
	}
	rest, _ := skipLead(query)
	return conditional(rest) || !harmless(firstWords(query)[0]) && conditionalInside(query)
}

// conditional reports whether a text begins with a comment that the server may run.
func conditional(s string) bool { return strings.HasPrefix(s, "/*!") || strings.HasPrefix(s, "/*M!") }

// conditionalInside reports whether a text has such a comment outside of quotes.
func conditionalInside(s string) bool {
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0 && c == '\\' && quote != '`':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'', c == '"', c == '`':
			quote = c
		case conditional(s[i:]):
			return true
		}
	}
	return false
}

// refuseSet looks at the name in "set [scope] name = value"; a later name in
// the same statement is found by the inspection.
func refuseSet(words [4]string) string {
	switch scope := words[1]; scope {
	case "global", "persist", "persist_only":
		return "set " + scope + " would change the server for everybody"
	case "session", "local":
		words[1] = words[2]
	case "default": // role
		words[1] = "password"
	}
	switch words[1] {
	case "autocommit", "password":
		return "set " + words[1] + " would commit the handler's transaction"
	}
	return ""
}

// firstWords are the first words of a query in lower case, without comments;
// a name with a scope, @@session.autocommit, is two. A query is one statement:
// the driver sends no more.
func firstWords(query string) (words [4]string) {
	for n := 0; n < len(words); n++ {
		query = skipSpace(query)
		end := strings.IndexFunc(query, func(r rune) bool {
			return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		})
		if end < 0 {
			end = len(query)
		}
		words[n] = strings.ToLower(query[:end])
		query = query[end:]
	}
	return words
}

// skipSpace skips what may stand before a word. What the server runs of a
// comment, /*! … */, is text.
func skipSpace(s string) string {
	for s = skipPlain(s); conditional(s); s = skipPlain(s) {
		_, s, _ = strings.Cut(s, "!")
		s = strings.TrimLeft(s, "0123456789")
	}
	return s
}

// skipPlain skips spaces, comments that no server runs, and what may stand before a
// word without being one.
func skipPlain(s string) string {
	for {
		lead, _ := skipLead(s)
		rest := strings.TrimLeft(lead, "@.`")
		if rest == lead {
			return rest
		}
		s = rest
	}
}

// skipLead skips spaces, parentheses, and comments that no server runs. They are plain
// if nobody can read them otherwise: neither the server, nor the driver, which puts
// arguments in the place of question marks outside of what it takes for comments and strings.
func skipLead(s string) (rest string, plain bool) {
	plain = true
	for {
		s = strings.TrimLeft(s, " \t\r\n\f\v(")
		var comment string
		switch {
		case strings.HasPrefix(s, "--"):
			comment, s, _ = strings.Cut(s, "\n")
			plain = plain && strings.TrimLeft(comment[2:], " \t\r") != comment[2:]
		case strings.HasPrefix(s, "#"):
			comment, s, _ = strings.Cut(s, "\n")
		case strings.HasPrefix(s, "/*") && !conditional(s):
			comment, s, _ = strings.Cut(s[len("/*"):], "*/")
			plain = plain && !strings.HasPrefix(comment, "/") && !strings.Contains(comment, "/*")
		default:
			return s, plain
		}
		plain = plain && !strings.ContainsFunc(comment, func(r rune) bool {
			return r == '?' || r < ' ' && !strings.ContainsRune("\t\r\n\f\v", r)
		})
	}
}
