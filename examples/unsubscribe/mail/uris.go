package mail

import (
	"fmt"
	"strings"
)

// URIs reads the value of a List-Unsubscribe field by RFC 2369 §2: URIs in
// angle brackets, divided by commas, with comments between them and white
// space inside them, which folding leaves and which does not count. Empty
// brackets are skipped. A value that does not begin with an angle bracket is
// ignored, as the RFC wants it. Errors: ErrUnterminated, ErrMalformed, ErrURI,
// ErrTooLarge.
func URIs(value string) ([]string, error) {
	rest, err := skipComments(value)
	if err != nil || !strings.HasPrefix(rest, "<") {
		return nil, err
	}
	var uris []string
	for rest != "" {
		inside, after, ended := strings.Cut(rest[1:], ">")
		if !ended {
			return nil, ErrUnterminated
		}
		uri, err := cleanURI(inside)
		if err != nil {
			return nil, err
		}
		if uri != "" {
			uris = append(uris, uri)
		}
		if len(uris) > MaxURIs {
			return nil, fmt.Errorf("%w of %d URIs", ErrTooLarge, MaxURIs)
		}
		if rest, err = nextURI(after); err != nil {
			return nil, err
		}
	}
	return uris, nil
}

// nextURI skips what stands between two URIs, and returns the text from the
// next bracket on, or nothing at the end.
func nextURI(s string) (string, error) {
	for commas := 0; ; commas++ {
		rest, err := skipComments(s)
		if err != nil || rest == "" {
			return "", err
		}
		if rest[0] == '<' && commas > 0 {
			return rest, nil
		}
		if rest[0] != ',' {
			return "", fmt.Errorf("%w after a URI: %s", ErrMalformed, quote(rest))
		}
		s = rest[1:]
	}
}

// skipComments drops white space and RFC 5322 comments, which may be nested.
func skipComments(s string) (string, error) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '\\' && depth > 0:
			i++ // a quoted pair: the next character means nothing
		case depth == 0 && !isBlank(c):
			return s[i:], nil
		}
	}
	if depth > 0 {
		return "", ErrUnterminated
	}
	return "", nil
}

// cleanURI drops white space, and refuses what RFC 3986 leaves out of a URI:
// control characters, everything beyond ASCII, and some delimiters.
func cleanURI(s string) (string, error) {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if isBlank(c) {
			continue
		}
		if c <= 0x20 || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			return "", fmt.Errorf("%w: %s", ErrURI, quote(s))
		}
		_ = b.WriteByte(c)
	}
	if b.Len() > MaxURI {
		return "", fmt.Errorf("URI is %w of %d bytes", ErrTooLarge, MaxURI)
	}
	return b.String(), nil
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }
