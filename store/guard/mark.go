package guard

import (
	"slices"
	"strings"
)

// A Mark is what a statement leaves in a session so that no query finds it.
type Mark uint8

// The marks.
const (
	Unmarked Mark = iota
	Passing       // it ends with the transaction
	Lasting       // it does not
)

// MarkOf tells by its text what a PostgreSQL statement leaves that no catalog
// shows: a setting of the application's own, whose name has a dot, and the loss
// of prepared statements. What a function does so is not seen.
func MarkOf(query string) Mark {
	mark := Unmarked
	var words []string
	for rest := query; rest != ""; {
		var token string
		token, rest = PostgreSQL.next(rest)
		if token == ";" {
			mark = max(mark, markOf(words))
			words = nil
		} else if token != "" {
			words = append(words, strings.ToLower(strings.Trim(token, `"`)))
		}
	}
	return max(mark, markOf(words))
}

// markOf is MarkOf for one statement.
func markOf(words []string) Mark {
	switch {
	case len(words) == 0:
		return Unmarked
	case words[0] == "deallocate", words[0] == "discard":
		return Lasting
	case slices.Contains(words, "set_config"):
		if slices.Contains(words, "true") {
			return Passing
		}
		return Lasting
	case words[0] != "set", !slices.Contains(words[:min(4, len(words))], "."):
		return Unmarked
	case words[1] == "local":
		return Passing
	}
	return Lasting
}
