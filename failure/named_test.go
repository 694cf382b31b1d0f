package failure_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/store"
)

// A readCounter counts how often a store reads.
type readCounter struct {
	store.Engine
	reads int
}

// Read counts.
func (c *readCounter) Read(ctx context.Context, fn func(context.Context, store.Session) error) error {
	c.reads++
	return c.Engine.Read(ctx, fn)
}

func TestLettersAreFoundByManyIDsAtATime(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		mourned(t, s, 6)
		all, err := s.Letters(t.Context(), store.LetterFilter{})
		try(t, err)
		var (
			seqs       []int64
			asked      []string
			gone, dead []string
		)
		for i, l := range all[:3] { // two of one id, and one of another, in the reverse order
			id := []string{"z", "a", "z"}[i]
			stmt := fmt.Sprintf("update posthorn_letter set id = '%s' where seq = %d", id, l.Seq)
			_, err := s.DB().ExecContext(t.Context(), stmt)
			try(t, err)
			seqs = append(seqs, l.Seq)
		}
		_, err = s.RemoveLetters(t.Context(), seqs...)
		try(t, err)
		for _, l := range all[3:] {
			dead = append(dead, l.ID)
		}
		for i := range 1100 {
			asked = append(asked, fmt.Sprintf("m%04d", i))
		}
		slices.Sort(dead)
		asked = append(append(asked, "z", "a", "z"), dead...)
		c := &readCounter{Engine: s.Engine}
		s.Engine = c
		ls, missing, err := failure.Named(t.Context(), s, asked, false)
		if err != nil || !slices.Equal(names(ls), dead) || len(missing) != 1102 || missing[0] != "a" || missing[1101] != "z" {
			t.Errorf("it found %q, and misses %d; %v", names(ls), len(missing), err)
		}
		if c.reads != 3 {
			t.Errorf("it read %d times for %d ids", c.reads, len(asked))
		}
		ls, missing, err = failure.Named(t.Context(), s, []string{"z", "a", "b"}, true)
		for _, l := range ls {
			gone = append(gone, fmt.Sprint(l.ID, l.Seq))
		}
		want := []string{fmt.Sprint("a", seqs[1]), fmt.Sprint("z", seqs[0]), fmt.Sprint("z", seqs[2])}
		if err != nil || !slices.Equal(gone, want) || !slices.Equal(missing, []string{"b"}) {
			t.Errorf("of the removed ones it found %q, and misses %q; %v", gone, missing, err)
		}
	})
}

// names are the ids of letters.
func names(ls []store.Letter) (out []string) {
	for _, l := range ls {
		out = append(out, l.ID)
	}
	return out
}
