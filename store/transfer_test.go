package store_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// dossiers are the letters of a store with all that belongs to them.
func dossiers(t *testing.T, s *store.Store, f store.LetterFilter) (out []store.Dossier) {
	t.Helper()
	ls, err := s.Letters(t.Context(), f)
	try(t, err)
	for _, l := range ls {
		d, err := s.Dossier(t.Context(), l)
		try(t, err)
		out = append(out, d)
	}
	return out
}

// seqsOf are the letters' numbers.
func seqsOf(ds []store.Dossier) (seqs []int64) {
	for _, d := range ds {
		seqs = append(seqs, d.Seq)
	}
	return seqs
}

// forgetGroups makes the store forget what it knows of groups, as it does after their
// retention.
func forgetGroups(t *testing.T, s *store.Store) {
	t.Helper()
	_, err := s.DB().ExecContext(t.Context(), "delete from "+s.Names.Table("group"))
	try(t, err)
}

func TestLettersThatAreImportedOrRestoredHaveTheirGroups(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		buryAll(t, s, failing("a", "x 1"), failing("b", "x 2"), failing("c", "gone"))
		_, err := s.RemoveLetters(ctx, letterOf(t, s, "c").Seq)
		try(t, err)
		dead := dossiers(t, s, store.LetterFilter{})
		ds := append(dead, dossiers(t, s, store.LetterFilter{Discarded: true})...)
		_, err = s.PurgeLetters(ctx, seqsOf(ds)...)
		try(t, err)
		forgetGroups(t, s)
		try(t, s.ImportLetters(ctx, nil, ds...))
		known := func(when string, want int64) {
			t.Helper()
			got, err := s.GroupStates(ctx)
			if err != nil || !maps.Equal(got, map[store.GroupState]int64{store.GroupOpen: want}) {
				t.Errorf("%s: states %v, %v; want %d open", when, got, err, want)
			}
		}
		known("imported", 1)
		g := groupsOf(t, s)["x #"]
		if !g.First.Equal(dead[0].DiedAt) || g.FirstBuild != "b1" || g.Count != 2 || g.ErrorType != "*pq.Error" {
			t.Errorf("group %+v", g)
		}
		gone := seqsOf(dossiers(t, s, store.LetterFilter{Discarded: true}))
		if _, err := s.RestoreLetters(ctx, gone...); err != nil {
			t.Error(err)
		}
		known("restored", 2)
	})
}

func TestIdsThatAreTakenAreFoundAmongMany(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		buried(t, s, "dead", "removed")
		_, err := s.RemoveLetters(ctx, letterOf(t, s, "removed").Seq)
		try(t, err)
		try(t, s.Send(ctx, message("live")))
		var names []string
		var ds []store.Dossier
		for i := range 1300 {
			id := map[int]string{0: "live", 499: "removed", 500: "removed", 1299: "dead"}[i]
			if id == "" {
				id = fmt.Sprint("m", i)
			}
			names = append(names, id)
			ds = append(ds, store.Dossier{Letter: store.Letter{Envelope: message(id)}})
		}
		want := []string{"live", "removed", "dead"}
		if got, err := s.Taken(ctx, names); err != nil || !slices.Equal(got, want) {
			t.Errorf("taken %v, %v; want %v", got, err, want)
		}
		err = s.ImportLetters(ctx, nil, ds...)
		if taken := new(store.TakenError); !errors.As(err, &taken) || !slices.Equal(taken.IDs, want) {
			t.Errorf("import: %v", err)
		}
		if ls, err := s.Letters(ctx, store.LetterFilter{}); err != nil || len(ls) != 1 {
			t.Errorf("%d letters, %v, want one", len(ls), err)
		}
	})
}

func TestAnImportedLetterHasNothingOfAnEarlierMessage(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		buried(t, s, "m", "n")
		ds := dossiers(t, s, store.LetterFilter{})
		l := letterOf(t, s, "m")
		try(t, s.EditLetter(ctx, store.Edit{Seq: l.Seq, Body: []byte("two"), Retry: true}))
		_, err := s.PurgeLetters(ctx, letterOf(t, s, "n").Seq)
		try(t, err)
		c := consume(t, s)
		d := receive(t, c)[0]
		try(t, c.Settle(ctx, driver.Settlement{Delivery: d}))
		if vs, err := s.Revisions(ctx, "m"); len(vs) != 1 || err != nil {
			t.Fatalf("revisions of what is done: %v, %v", vs, err)
		}
		ds = append(ds, ds[0]) // which died twice
		ds[2].DiedAt = ds[2].DiedAt.Add(time.Second)
		try(t, s.ImportLetters(ctx, nil, ds...))
		got := dossiers(t, s, store.LetterFilter{})
		if len(got) != 3 || len(got[0].Revisions) != 0 || len(got[0].Attempts) != 1 || len(got[1].Attempts) != 1 ||
			got[0].ID != "m" || got[1].ID != "n" || got[2].ID != "m" {
			t.Errorf("imported %+v", got)
		}
	})
}
