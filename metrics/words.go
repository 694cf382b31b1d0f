package metrics

import (
	"strings"
	"unicode/utf8"

	"github.com/posthorn/posthorn/internal/printable"
)

// Values of labels that stand for others.
const (
	other = "other" // more than there may be
	none  = "none"  // an empty one
)

// maxValue bounds the value of a label in bytes.
const maxValue = 128

// A vocabulary is the values that a dimension has had. It is what bounds the number of
// series: what comes when it is full is called other, for ever.
type vocabulary struct {
	limit int
	known map[string]string // as it came → as it is shown
}

func newVocabulary(limit int) *vocabulary {
	return &vocabulary{limit: limit, known: make(map[string]string)}
}

// word is what a value is called.
func (v *vocabulary) word(value string) string {
	if w, ok := v.known[value]; ok {
		return w
	}
	if len(value) > maxValue {
		cut := maxValue
		for cut > 0 && !utf8.RuneStart(value[cut]) {
			cut--
		}
		return v.word(value[:cut]) // two that begin alike are one
	}
	if len(v.known) >= v.limit {
		return other
	}
	w := clean(value)
	v.known[strings.Clone(value)] = w // the value may be a part of something large
	return w
}

// clean makes a value that others wrote safe to show.
func clean(value string) string {
	if value == "" {
		return none
	}
	return printable.Text(value)
}
