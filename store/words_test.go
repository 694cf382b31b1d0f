package store_test

import (
	"fmt"
	"testing"

	"github.com/posthorn/posthorn/store"
)

// A query names a kind, a queue, a class, a type of error or a group by a term: an index
// leads to them as it does for a filter, and nothing is searched.
func TestAWordOfAQueryIsLookedUp(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		const n = 40
		askew(t, s, n)
		group := letterOf(t, s, "m7").Fingerprint
		for field, word := range map[string]string{
			"type": "t3", "kind": "k1", "queue": "q", "class": "panic", "group": group,
		} {
			f := store.LetterFilter{Terms: []store.Term{term(field, store.OpIs, word)}, Reach: 1, Limit: n}
			p, err := s.LetterPage(t.Context(), f)
			if err != nil || len(p.Letters) == 0 || p.Searched != 0 || p.Next != 0 {
				t.Errorf("%s:%s: %d letters, %d searched, %v", field, word, len(p.Letters), p.Searched, err)
			}
		}
	})
}

// What a search goes through is what the word of its query leads to.
func TestTheWideFilterKeepsTheWordOfAQuery(t *testing.T) {
	typed, text := term("type", store.OpIs, "*a.T"), term("error", store.OpHas, "x")
	for want, f := range map[string]store.LetterFilter{
		"[{type  is [*a.T] false}] 0": {Terms: []store.Term{text, typed}},
		"[] kind0":                    {Kind: "kind", Terms: []store.Term{typed, text}},
		"[{kind  is [k] false}] 0":    {Class: "panic", Terms: []store.Term{typed, term("kind", store.OpIs, "k")}},
		"[] 0":                        {Terms: []store.Term{text, not(typed), term("type", store.OpStarts, "*a")}},
		"[] 1":                        {IDs: []string{"a"}, Terms: []store.Term{typed}},
	} {
		w := f.Wide()
		if got := fmt.Sprint(w.Terms, " ", w.Kind, w.Class, len(w.IDs)); got != want {
			t.Errorf("of %+v: %q, want %q", f, got, want)
		}
	}
}
