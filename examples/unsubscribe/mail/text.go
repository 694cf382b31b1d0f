package mail

import (
	"bytes"
	"io"
	"mime"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// windows1252 has the characters of the bytes 0x80 … 0x9f; all others are
// those of ISO 8859-1. Source: the WHATWG Encoding Standard.
const windows1252 = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ"

// maxQuote bounds how much of a mail's text an error repeats, in bytes.
const maxQuote = 120

// decode turns a field's text into UTF-8, with its encoded words (RFC 2047)
// decoded.
func decode(s string) string {
	s = toUTF8(s)
	text, err := wordDecoder().DecodeHeader(s)
	if err != nil { // a broken encoded word: its raw text is better than nothing
		return s
	}
	return text
}

// wordDecoder knows UTF-8, US-ASCII, ISO 8859-1 and windows-1252. Of any other
// charset it keeps the ASCII characters.
func wordDecoder() *mime.WordDecoder {
	return &mime.WordDecoder{CharsetReader: func(charset string, r io.Reader) (io.Reader, error) {
		raw, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		if charset == "windows-1252" || charset == "cp1252" {
			return strings.NewReader(fromWindows1252(raw)), nil
		}
		return strings.NewReader(string(bytes.Map(asciiOnly, raw))), nil
	}}
}

// toUTF8 reads bytes that are not UTF-8 as windows-1252, which is what senders
// of raw 8-bit headers mean most often.
func toUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return fromWindows1252([]byte(s))
}

func asciiOnly(r rune) rune {
	if r >= utf8.RuneSelf {
		return utf8.RuneError
	}
	return r
}

func fromWindows1252(raw []byte) string {
	high := []rune(windows1252)
	var b strings.Builder
	for _, c := range raw {
		if c >= 0x80 && c <= 0x9f {
			_, _ = b.WriteRune(high[c-0x80])
		} else {
			_, _ = b.WriteRune(rune(c))
		}
	}
	return b.String()
}

// printable makes text safe for one line of a terminal, a log or a page: each
// run of white space and control characters becomes one space, and characters
// that turn the direction of the text around them are dropped. The joiners
// that emoji and some scripts need stay.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case isBidi(r) || r == '\ufeff':
			return -1
		case unicode.IsControl(r) || unicode.IsSpace(r):
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
	return strings.Join(strings.Fields(s), " ")
}

// isBidi reports the controls of the Unicode bidirectional algorithm (UAX #9).
func isBidi(r rune) bool {
	return r == '\u061c' || r == '\u200e' || r == '\u200f' ||
		r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
}

// quote makes a mail's text fit for an error.
func quote(s string) string {
	if len(s) > maxQuote {
		s = s[:maxQuote] + "..."
	}
	return strconv.QuoteToASCII(s)
}
