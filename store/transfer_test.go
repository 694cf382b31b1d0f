package store_test

import (
	"maps"
	"testing"

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
