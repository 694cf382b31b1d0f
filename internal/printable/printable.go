// Package printable makes text of unknown origin safe to show. A message's
// body, its headers, an error's text and a host's name are written by others:
// shown raw they could move the cursor, recolour the screen, or turn the order
// of the letters around.
package printable

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text returns s as one line: control characters, escape sequences, direction
// marks and invalid bytes are written as \n, \t, \xNN or \u{NNNN}. Text that is
// harmless is returned as it is.
func Text(s string) string { return escape(s, false) }

// Block is like Text, but keeps line breaks and tabs: for a stack or a body.
func Block(s string) string { return escape(s, true) }

func escape(s string, lines bool) string {
	if harmless(s, lines) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size <= 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case Safe(r) || lines && (r == '\n' || r == '\t'):
			b.WriteRune(r)
		default:
			b.WriteString(named(r))
		}
		i += size
	}
	return b.String()
}

func harmless(s string, lines bool) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !Safe(r) && !(lines && (r == '\n' || r == '\t')) {
			return false
		}
	}
	return true
}

// Safe reports whether a terminal shows r as a plain character, without any
// effect on what stands around it.
func Safe(r rune) bool {
	switch {
	case r == ' ' || r > ' ' && r < 0x7f:
		return true
	case r == '\u200d': // joins the parts of one emoji
		return true
	default:
		return unicode.IsGraphic(r) && !separator(r)
	}
}

// separator reports line and paragraph separators, and spaces that are not
// told from nothing. IsGraphic has refused the format characters (class Cf),
// among which are all the direction marks, and the controls.
func separator(r rune) bool {
	return r == '\u2028' || r == '\u2029' || r == '\u3164' || r == '\uffa0'
}

func named(r rune) string {
	switch r {
	case '\n':
		return `\n`
	case '\r':
		return `\r`
	case '\t':
		return `\t`
	}
	if r < 0x100 {
		return fmt.Sprintf(`\x%02x`, r)
	}
	return fmt.Sprintf(`\u{%x}`, r)
}

// JSON returns encoded JSON (or YAML in double quotes) in which the characters
// that Text would escape are written as \uNNNN. The value is the same. Line
// breaks between the tokens stay.
func JSON(doc []byte) []byte {
	var out []byte
	for len(doc) > 0 {
		r, size := utf8.DecodeRune(doc)
		switch {
		case r == '\n' || Safe(r) && !(r == utf8.RuneError && size == 1):
			out = append(out, doc[:size]...)
		case r > 0xffff:
			high, low := (r-0x10000)>>10+0xd800, (r-0x10000)&0x3ff+0xdc00
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		doc = doc[size:]
	}
	return out
}
