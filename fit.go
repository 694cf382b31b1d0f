package posthorn

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// Fit makes text fit a column of max characters (Unicode code points, which is
// how PostgreSQL's and MySQL's varchar(n) count). It trims white space, turns
// invalid UTF-8 and NUL, which databases refuse, into U+FFFD, and cuts without
// breaking a character that a reader sees as one: a letter with its accents, a
// flag, an emoji family. When it cut, it logs a warning with the field, the
// original and the new length and the message's id. It returns what to store;
// that is empty when max is not positive, or smaller than the first such
// character.
func Fit(ctx context.Context, field, s string, max int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	s = strings.TrimSpace(s)
	length := utf8.RuneCountInString(s)
	if length <= max {
		return s
	}
	cut := strings.TrimSpace(s[:graphemePrefix(s, max)])
	Logger(ctx).WarnContext(ctx, "text cut to fit its column",
		"field", field, "length", length, "new_length", utf8.RuneCountInString(cut), "max", max)
	return cut
}

// graphemePrefix is the length in bytes of the longest prefix of whole grapheme
// clusters (UAX #29) that has at most max code points.
func graphemePrefix(s string, max int) int {
	end, runes, state := 0, 0, -1
	for rest := s; rest != ""; {
		var cluster string
		cluster, rest, _, state = uniseg.FirstGraphemeClusterInString(rest, state)
		runes += utf8.RuneCountInString(cluster)
		if runes > max {
			break
		}
		end += len(cluster)
	}
	return end
}
