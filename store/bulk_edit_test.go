package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

func TestABulkEditKeepsWhatEachLetterWasAndRefusesWhatDoesNotFit(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		deaden(t, s, numbered(8)...)
		before, err := s.Letters(t.Context(), store.LetterFilter{})
		try(t, err)
		patch := []byte(`[{"op":"x<y"}]`)
		turn := start(t, s, store.Operation{Action: store.ActionEdit, Patch: patch, Canary: true})
		_, err = s.Advance(t.Context(), turn) // writes the letters down
		try(t, err)
		for range 10 { // who cannot edit does not advance it, and nothing is refused
			if _, err = s.Advance(t.Context(), turn); !errors.Is(err, driver.ErrUnsupported) {
				t.Fatalf("without an EditFunc: %v", err)
			}
		}
		turn.Edit = func(o store.Operation, l store.Letter) (store.Edit, error) {
			switch {
			case !strings.Contains(string(o.Patch), "op"):
				t.Errorf("the patch is %s", o.Patch)
			case l.Seq == before[0].Seq:
				return store.Edit{}, errors.New("it does not fit")
			case l.Seq == before[1].Seq:
				return store.Edit{Header: map[string]string{"": "invalid"}, Body: l.Body}, nil
			case l.Seq == before[2].Seq:
				return store.Edit{Header: l.Header, Body: l.Body}, nil
			}
			return store.Edit{Header: map[string]string{"new": "h"}, Body: []byte("new " + l.ID)}, nil
		}
		if o := advance(t, s, turn); tally(o) != "done: 6 done, 0 failed, 0 flying, 0 gone, 2 refused, 0 left" || o.Canary {
			t.Errorf("it is %s", tally(o))
		}
		after, err := s.Letters(t.Context(), store.LetterFilter{})
		try(t, err)
		for i, l := range after {
			was := before[i]
			vs, err := s.Revisions(t.Context(), l.ID)
			try(t, err)
			switch {
			case i < 3 && (len(vs) != 0 || l.Revision != 0 || string(l.Body) != string(was.Body)):
				t.Errorf("%s was changed: %+v, %+v", l.ID, l, vs)
			case i >= 3 && (len(vs) != 1 || vs[0].Actor != "ann@h" || string(vs[0].Body) != string(was.Body) ||
				l.Revision != 1 || string(l.Body) != "new "+l.ID || l.Header["new"] != "h"):
				t.Errorf("%s is %+v, and was %+v", l.ID, l, vs)
			}
		}
	})
}

func TestAnOperationWithAPatchIsAnEditAndNoOther(t *testing.T) {
	t.Parallel()
	s := places(t)["SQLite"].store(t, "")
	for _, o := range []store.Operation{
		{Action: store.ActionEdit}, {Action: store.ActionEdit, Patch: []byte(`[`)},
		{Action: store.ActionRetry, Patch: []byte(`[]`)},
	} {
		if _, err := s.StartOperation(t.Context(), o); !errors.Is(err, driver.ErrInvalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
