package store_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// A dead is a message to be buried.
type dead struct {
	id, kind, class, text, body string
	header                      map[string]string
}

// buryAll sends messages and buries them in their order.
func buryAll(t *testing.T, s *store.Store, ds ...dead) {
	t.Helper()
	c := consume(t, s)
	for _, d := range ds {
		e := message(d.id)
		e.Body, e.Header = []byte(d.body), d.header
		if d.kind != "" {
			e.Kind = d.kind
		}
		try(t, s.Send(t.Context(), e))
		got := receive(t, c)
		try(t, c.Settle(t.Context(), driver.Settlement{
			Delivery: got[0], Verdict: driver.Bury, Reason: driver.ReasonExhausted,
			Attempt: &driver.Attempt{
				Number: 1, Worker: "w", Started: time.Now(), Build: "b1", Type: "*pq.Error",
				Class: driver.Class(d.class), Error: d.text,
			},
		}))
	}
}

// chosen are the ids that a filter chooses, in pages of any size.
func chosen(t *testing.T, s *store.Store, f store.LetterFilter) string {
	t.Helper()
	var out []string
	for {
		page, err := s.LetterPage(t.Context(), f)
		try(t, err)
		for _, l := range page.Letters {
			out = append(out, l.ID)
		}
		if page.Next == 0 {
			return strings.Join(out, " ")
		}
		f.Past = page.Next
	}
}

func term(field string, op store.Op, values ...string) store.Term {
	name, path, _ := strings.Cut(field, ".")
	return store.Term{Field: name, Path: path, Op: op, Values: values}
}

func not(t store.Term) store.Term { t.Not = true; return t }

// the letters of the tests of filters; a body need not be JSON, nor text.
func someDead() []dead {
	return []dead{
		{"a", "order", "failure", `no such "user" 100%`,
			`{"order_id":"A-17","n":5,"ok":true,"items":[{"sku":"x"},{"sku":"y"}]}`, map[string]string{"tenant": "blue"}},
		{"b", "order", "timeout", "deadline", `{"order_id":"A-18","n":50,"ok":false,"x":null}`, nil},
		{"c", "mail", "failure", "no such list_ü", `{"order_id":"\u0041-17","n":"5"}`, map[string]string{"tenant": `b"l<ue`}},
		{"d", "mail", "failure", "NO SUCH", "\xff\x00A-17", nil},
		{"e", "mail2", "panic", "", `{"order_id":"A-17"} trailing`, nil},
		{"f", "mail", "failure", "x", `["A-17",{"order_id":"A-17"}]`, nil},
	}
}

// A choice is what terms choose.
type choice struct {
	want  string
	terms []store.Term
}

func choices() []choice {
	terms := func(ts ...store.Term) []store.Term { return ts }
	return []choice{
		{"a b", terms(term("kind", store.OpIs, "order"))},
		{"a b e", terms(term("kind", store.OpIs, "order", "mail2"))},
		{"c d e f", terms(not(term("kind", store.OpIs, "order")))},
		{"c d f", terms(term("kind", store.OpStarts, "mail"), not(term("kind", store.OpIs, "mail2")))},
		{"a c", terms(term("error", store.OpHas, "no such"))},
		{"c", terms(term("error", store.OpHas, "list_ü"))},
		{"a", terms(term("error", store.OpHas, `"user" 100%`))},
		{"b", terms(term("class", store.OpHas, "out"))},
		{"a c f", terms(term("payload.order_id", store.OpIs, "A-17"))},
		{"b d e", terms(not(term("payload.order_id", store.OpIs, "A-17")))},
		{"a b c f", terms(term("payload.order_id", store.OpStarts, "A-"))},
		{"a d e f", terms(term("payload", store.OpHas, "A-17"))},
		{"b c", terms(not(term("payload", store.OpHas, "A-17")))},
		{"a c", terms(term("payload.n", store.OpIs, "5"))},
		{"b", terms(term("payload.n", store.OpMore, "5"))},
		{"a", terms(term("payload.items.sku", store.OpIs, "y"))},
		{"", terms(term("payload.items.0.sku", store.OpIs, "y"))},
		{"a", terms(term("payload.items.1.sku", store.OpIs, "y"), term("payload.ok", store.OpIs, "true"))},
		{"b", terms(term("payload.x", store.OpIs, "null"))},
		{"a", terms(term("header.tenant", store.OpIs, "blue"))},
		{"c", terms(term("header.tenant", store.OpHas, `"l<`))},
		{"c d e f", terms(not(term("kind", store.OpIs, "order")), term("crashes", store.OpMost, "0"))},
		{"a b c d e f", terms(term("died", store.OpMore, "1000"), term("type", store.OpIs, "*pq.Error"))},
		{"", terms(term("kind", store.OpIs, "order' or '1'='1"))},
	}
}

func TestLettersAreChosenByTerms(t *testing.T) {
	t.Parallel()
	for name, p := range places(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := p.store(t, p.names)
			buryAll(t, s, someDead()...)
			for _, c := range choices() {
				chooses(t, s, c)
			}
			counted(t, s)
		})
	}
}

// chooses checks a choice in pages of several sizes, in searches that are cut short and
// go on, and counted.
func chooses(t *testing.T, s *store.Store, c choice) {
	t.Helper()
	for _, limit := range []int{1, 2, 100} {
		for _, reach := range []int{0, 2} {
			if got := chosen(t, s, store.LetterFilter{Terms: c.terms, Limit: limit, Reach: reach}); got != c.want {
				t.Errorf("%+v in pages of %d, searches of %d: %q, want %q", c.terms, limit, reach, got, c.want)
			}
		}
	}
	n, err := s.TotalLetters(t.Context(), store.LetterFilter{Terms: c.terms}, 0)
	if want := int64(len(strings.Fields(c.want))); err != nil || n != (store.LetterTotal{N: want, Exact: true}) {
		t.Errorf("%+v: counted %+v, %v, want %d", c.terms, n, err, want)
	}
}

// counted checks that a count says where it stopped.
func counted(t *testing.T, s *store.Store) {
	t.Helper()
	payload := store.LetterFilter{Terms: []store.Term{term("payload.order_id", store.OpStarts, "A")}}
	for _, f := range []store.LetterFilter{{}, payload} {
		if n, err := s.TotalLetters(t.Context(), f, 3); err != nil || n != (store.LetterTotal{N: 3}) {
			t.Errorf("counted %+v, %v", n, err)
		}
	}
	payload.Reach = 2
	if n, err := s.TotalLetters(t.Context(), payload, 0); err != nil || n != (store.LetterTotal{N: 2}) {
		t.Errorf("counted %+v, %v within a reach", n, err)
	}
	page, err := s.LetterPage(t.Context(), payload)
	if err != nil || page.Searched != 2 || page.Next == 0 || len(page.Letters) != 2 {
		t.Errorf("page %+v, %v", page, err)
	}
}

func TestAFilterThatCannotBeAnsweredIsRefused(t *testing.T) {
	t.Parallel()
	s := places(t)["SQLite"].store(t, "")
	for _, bad := range []store.Term{
		{}, term("kind; drop table x", store.OpIs, "a"), term("kind", "is or 1=1", "a"), term("kind", store.OpIs),
		term("kind", store.OpLess, "a"), term("crashes", store.OpIs, "a"), term("crashes", store.OpIs, "1.5"),
		term("payload", store.OpIs, "a"), term("payload.x", store.OpLess, "a"), term("header", store.OpIs, "a"),
		term("error", store.OpStarts, "a"), term("kind", "", "a"),
	} {
		_, err := s.Letters(t.Context(), store.LetterFilter{Terms: []store.Term{bad}})
		if !errors.Is(err, driver.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestAFilterSurvivesBeingKept(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 31, 8, 0, 0, 5e6, time.UTC)
	for _, f := range []store.LetterFilter{{}, {
		IDs: []string{"a"}, Queue: "q", Kind: "k", Reason: "r", Class: "c", Group: "g", After: at, Before: at.Add(1),
		Terms:     []store.Term{not(term("payload.a.b", store.OpIs, "x", "y"))},
		Discarded: true, Past: 3, Until: 9, Limit: 7, Reach: 5,
	}} {
		b, err := json.Marshal(f)
		try(t, err)
		var got store.LetterFilter
		try(t, json.Unmarshal(b, &got))
		if !reflect.DeepEqual(got, f) {
			t.Errorf("%s became %+v", b, got)
		}
	}
	if b, err := json.Marshal(store.LetterFilter{}); err != nil || string(b) != "{}" {
		t.Errorf("%s, %v", b, err)
	}
}

func TestBulkWorkByThePayloadTouchesNoOtherLetter(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		buryAll(t, s, someDead()...)
		f := store.LetterFilter{Terms: []store.Term{term("payload.order_id", store.OpIs, "A-17")}}
		counts, err := s.CountLetters(t.Context(), f)
		if err != nil || len(counts) != 2 || counts[0].Kind != "mail" || counts[0].Count != 2 || counts[1].Count != 1 {
			t.Errorf("counted %+v, %v", counts, err)
		}
		first := f
		first.Limit = 1
		for _, c := range []struct {
			filter store.LetterFilter
			left   string
		}{{first, "b c d e f"}, {f, "b d e"}} {
			o := advance(t, s, start(t, s, store.Operation{Action: store.ActionRemove, Filter: c.filter}))
			if got := chosen(t, s, store.LetterFilter{}); o.State != store.OperationDone || got != c.left {
				t.Errorf("it is %s, and left %s, want %s", tally(o), got, c.left)
			}
		}
	})
}
