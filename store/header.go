package store

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// encodeHeader writes a header as a JSON object, and none as NULL. Most headers are
// short and plain, such as a trace's, and every message of a traced application has one:
// those are written and read without the general machinery, which costs a tenth of a
// message that does nothing else.
func encodeHeader(h map[string]string) (out sql.NullString, err error) {
	if len(h) == 0 {
		return out, nil
	}
	if text, ok := encodePlain(h); ok {
		return sql.NullString{String: text, Valid: true}, nil
	}
	b, err := json.Marshal(h)
	if err != nil {
		return out, fmt.Errorf("encode header: %w", err)
	}
	return sql.NullString{String: string(b), Valid: true}, nil
}

// decodeHeader reads what encodeHeader wrote.
func decodeHeader(s sql.NullString) (map[string]string, error) {
	if !s.Valid {
		return nil, nil //nolint:nilnil // no header
	}
	if h, ok := decodePlain(s.String); ok {
		return h, nil
	}
	var h map[string]string
	if err := json.Unmarshal([]byte(s.String), &h); err != nil {
		return nil, fmt.Errorf("decode header: %w", err)
	}
	return h, nil
}

// plain reports whether JSON writes a text as it is, without an escape.
func plain(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c > '~', c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}

// encodePlain writes fields that need no escape, in the order of their names.
func encodePlain(h map[string]string) (text string, ok bool) {
	size := 1
	for k, v := range h {
		if !plain(k) || !plain(v) {
			return "", false
		}
		if len(h) == 1 {
			return `{"` + k + `":"` + v + `"}`, true
		}
		size += len(k) + len(v) + len(`"":"",`)
	}
	var b strings.Builder
	b.Grow(size)
	sep := byte('{')
	for _, k := range slices.Sorted(maps.Keys(h)) {
		b.WriteByte(sep)
		b.WriteByte('"')
		b.WriteString(k)
		b.WriteString(`":"`)
		b.WriteString(h[k])
		b.WriteByte('"')
		sep = ','
	}
	b.WriteByte('}')
	return b.String(), true
}

// decodePlain reads an object of texts without escapes and without spaces between. All
// else is not ok.
func decodePlain(text string) (h map[string]string, ok bool) {
	rest, ok := strings.CutPrefix(text, "{")
	if !ok {
		return nil, false
	}
	h = map[string]string{}
	for {
		var name, value, after string
		if name, after, ok = quoted(rest, ":"); !ok {
			return nil, false
		}
		if value, rest, ok = quoted(after, ""); !ok {
			return nil, false
		}
		h[name] = value
		if rest == "}" {
			return h, true
		}
		if rest, ok = strings.CutPrefix(rest, ","); !ok {
			return nil, false
		}
	}
}

// quoted cuts a plain text in quotes off, and what follows it.
func quoted(s, then string) (text, rest string, ok bool) {
	if s, ok = strings.CutPrefix(s, `"`); !ok {
		return "", "", false
	}
	if text, rest, ok = strings.Cut(s, `"`); !ok || !plain(text) {
		return "", "", false
	}
	rest, ok = strings.CutPrefix(rest, then)
	return text, rest, ok
}
