package store_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/store"
)

// large are letters whose bodies are larger than a page holds.
func large(t *testing.T, s *store.Store) {
	t.Helper()
	var ds []dead
	for i := range 7 {
		d := failing(fmt.Sprint("m", i), "x")
		d.body = fmt.Sprintf(`{"n":%d,"pad":%q}`, i, strings.Repeat("x", 1_000_000))
		d.header = map[string]string{"a": "b"}
		ds = append(ds, d)
	}
	buryAll(t, s, ds...)
}

// idsOf are the letters' ids, each with a star if it has a body.
func idsOf(ls []store.Letter) string {
	var out []string
	for _, l := range ls {
		id := l.ID
		if l.Body != nil {
			id += "*"
		}
		out = append(out, id)
	}
	return strings.Join(out, " ")
}

func TestAListOfLettersLeavesTheirBodiesInTheStore(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		large(t, s)
		ctx := t.Context()
		payload := store.Term{Field: store.FieldPayload, Path: "n", Op: store.OpMore, Values: []string{"4"}}
		ls, err := s.Letters(ctx, store.LetterFilter{Bare: true, Terms: []store.Term{payload}})
		if got := idsOf(ls); err != nil || got != "m5 m6" {
			t.Errorf("chosen by what has to be read: %s, %v", got, err)
		}
		s.SQL.Letters = "this statement reads bodies" // nobody may run it
		head := store.Term{Field: store.FieldHeader, Path: "a", Op: store.OpIs, Values: []string{"b"}}
		body := store.Term{Field: store.FieldPayload, Op: store.OpHas, Values: []string{`"n":`}}
		for _, terms := range [][]store.Term{nil, {head}, {body}} {
			f := store.LetterFilter{Bare: true, Terms: terms}
			ls, err := s.Letters(ctx, f)
			if got := idsOf(ls); err != nil || got != "m0 m1 m2 m3 m4 m5 m6" || ls[0].Header["a"] != "b" {
				t.Errorf("list by %v: %s, %v", terms, got, err)
			}
			f.Bare = false // who counts wants none
			if n, err := s.TotalLetters(ctx, f, 0); err != nil || n.N != 7 {
				t.Errorf("count by %v: %+v, %v", terms, n, err)
			}
			if by, err := s.CountLetters(ctx, f); err != nil || len(by) != 1 || by[0].Count != 7 {
				t.Errorf("sums by %v: %+v, %v", terms, by, err)
			}
		}
		if _, err := s.Letters(ctx, store.LetterFilter{}); err == nil {
			t.Error("a list with bodies asks for none")
		}
	})
}

func TestAPageEndsBeforeItsBodiesAreTooMany(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		large(t, s)
		payload := store.Term{Field: store.FieldPayload, Path: "n", Op: store.OpLeast, Values: []string{"0"}}
		for _, f := range []store.LetterFilter{{Limit: 50}, {Limit: 50, Terms: []store.Term{payload}}} {
			pages(t.Context(), t, s, f)
			ls, err := s.Letters(t.Context(), f)
			if got := idsOf(ls); err != nil || got != "m0* m1* m2* m3* m4* m5* m6*" {
				t.Errorf("all: %s, %v", got, err)
			}
		}
		l, err := s.LastLetter(t.Context(), "m3", false)
		if err != nil || l == nil || l.ID != "m3" || len(l.Body) < 1_000_000 {
			t.Errorf("last letter %v", err)
		}
		if l, err := s.LastLetter(t.Context(), "m3", true); l != nil || err != nil {
			t.Errorf("removed letter %v, %v", l, err)
		}
	})
}

// pages goes through all of the letters.
func pages(ctx context.Context, t *testing.T, s *store.Store, f store.LetterFilter) {
	t.Helper()
	var got []string
	for {
		page, err := s.LetterPage(ctx, f)
		try(t, err)
		got = append(got, idsOf(page.Letters))
		if f.Past = page.Next; f.Past == 0 {
			break
		}
	}
	if want := "m0* m1* m2* m3* m4*|m5* m6*"; strings.Join(got, "|") != want {
		t.Errorf("pages %v, want %s", got, want)
	}
}
