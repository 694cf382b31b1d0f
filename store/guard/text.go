package guard

import "strings"

// A Syntax is how a server reads comments and quoted text.
type Syntax uint8

// The syntaxes.
const (
	PostgreSQL Syntax = iota // comments nest; only E'…' has backslashes that escape
	MySQL                    // #, and /*! … */ is run; a backslash escapes
)

// RefuseTransactionControl says why a handler must not run a query, because one
// of its statements would begin or end a transaction, or use Posthorn's
// savepoints. It is for databases without a way to ask the server; what gets
// past it, in a procedure for one, is found by the savepoint of the unit.
func (x Syntax) RefuseTransactionControl(query string) string {
	for _, words := range x.statementWords(query) {
		switch words[0] {
		case "begin", "start", "commit", "end", "abort", "xa":
			return words[0] + " would end the handler's transaction"
		case "prepare":
			if words[1] == "transaction" {
				return "prepare transaction would end the handler's transaction"
			}
		case "rollback":
			if !contains(words, "to") {
				return "rollback would end the handler's transaction"
			}
		}
		if isSavepoint(words[0]) && strings.Contains(strings.Join(words[:], " "), "posthorn_") {
			return "the savepoint is Posthorn's own"
		}
	}
	return ""
}

// UsesSavepoints reports whether one of a query's statements sets, releases or goes back to
// a savepoint. In a transaction that handlers share, it may be another one's.
func (x Syntax) UsesSavepoints(query string) bool {
	for _, words := range x.statementWords(query) {
		if isSavepoint(words[0]) {
			return true
		}
	}
	return false
}

func isSavepoint(verb string) bool {
	return verb == "savepoint" || verb == "release" || verb == "rollback"
}

func contains(words [5]string, want string) bool {
	for _, w := range words {
		if w == want {
			return true
		}
	}
	return false
}

// statementWords are the first words of each statement of a query, in lower
// case, without comments.
func (x Syntax) statementWords(query string) [][5]string {
	var out [][5]string
	var words [5]string
	n := 0
	flush := func() {
		if n > 0 {
			out = append(out, words)
		}
		words, n = [5]string{}, 0
	}
	for rest := query; rest != ""; {
		var token string
		token, rest = x.next(rest)
		switch {
		case token == ";":
			flush()
		case token != "" && n < len(words):
			words[n] = strings.ToLower(strings.Trim(token, "\"`"))
			n++
		}
	}
	flush()
	return out
}

// next cuts the first token off: a word, a quoted text, a semicolon or another
// character; white space and comments give an empty one. What MySQL runs of a
// comment, /*! … */, is read as text.
func (x Syntax) next(s string) (token, rest string) {
	if rest, ok := x.comment(s); ok {
		return "", rest
	}
	switch {
	case s[0] == '\'', s[0] == '"', s[0] == '`':
		return quoted(s, x == MySQL && s[0] != '`')
	case s[0] == '$' && x == PostgreSQL:
		return dollar(s)
	case wordByte(s[0]):
		end := 1
		for end < len(s) && wordByte(s[end]) {
			end++
		}
		if x == PostgreSQL && strings.EqualFold(s[:end], "e") && strings.HasPrefix(s[end:], "'") {
			return quoted(s[end:], true)
		}
		return s[:end], s[end:]
	case s[0] == ' ', s[0] == '\t', s[0] == '\n', s[0] == '\r', s[0] == '\f', s[0] == '\v':
		return "", s[1:]
	}
	return s[:1], s[1:]
}

// comment skips a comment, if there is one.
func (x Syntax) comment(s string) (rest string, ok bool) {
	switch {
	case strings.HasPrefix(s, "--"), x == MySQL && s[0] == '#':
		_, rest, _ = strings.Cut(s, "\n")
		return rest, true
	case x == MySQL && (strings.HasPrefix(s, "/*!") || strings.HasPrefix(s, "/*M!")):
		_, rest, _ = strings.Cut(s, "!")
		return strings.TrimLeft(rest, "0123456789"), true
	case x == MySQL && strings.HasPrefix(s, "*/"):
		return s[2:], true
	case x == MySQL && strings.HasPrefix(s, "/*"):
		_, rest, _ = strings.Cut(s[2:], "*/")
		return rest, true
	case strings.HasPrefix(s, "/*"):
		return skipComment(s), true
	}
	return s, false
}

// quoted cuts a quoted text off. A doubled quote makes two texts, which does no
// harm.
func quoted(s string, escapes bool) (token, rest string) {
	for i := 1; i < len(s); i++ {
		switch {
		case escapes && s[i] == '\\':
			i++
		case s[i] == s[0]:
			return s[:i+1], s[i+1:]
		}
	}
	return s, ""
}

// skipComment skips a comment; PostgreSQL's nest.
func skipComment(s string) string {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], "/*"):
			depth++
			i++
		case strings.HasPrefix(s[i:], "*/"):
			depth--
			i++
			if depth == 0 {
				return s[i+1:]
			}
		}
	}
	return ""
}

// dollar cuts a dollar-quoted text off, or just the dollar sign.
func dollar(s string) (token, rest string) {
	end := 1
	for end < len(s) && wordByte(s[end]) {
		end++
	}
	if end == len(s) || s[end] != '$' {
		return s[:1], s[1:]
	}
	tag := s[:end+1]
	closing := strings.Index(s[end+1:], tag)
	if closing < 0 {
		return s, ""
	}
	cut := end + 1 + closing + len(tag)
	return s[:cut], s[cut:]
}

func wordByte(c byte) bool {
	return c == '_' || c >= 0x80 || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
