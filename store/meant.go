package store

import (
	"cmp"
	"context"
	"slices"
)

// This file does for operations, letter by letter, what a statement does where the
// database judges the whole filter.

// freezeRead writes down which of the next letters are meant, of those that it reads.
func (s *stride) freezeRead(ctx context.Context, f LetterFilter, limit int) error {
	o := s.o
	f.Until = o.ledger.Until
	got, err := s.store.lettersIn(ctx, s.q, f, operationFreeze)
	if err != nil {
		return err
	}
	var seqs []any
	for _, l := range got {
		if len(seqs) == limit {
			break
		}
		o.ledger.Past = l.Seq
		if f.fits(l) {
			seqs = append(seqs, l.Seq)
		}
	}
	s.done.More = true
	if len(got) < operationFreeze || o.ledger.Most > 0 && o.Total+len(seqs) >= o.ledger.Most {
		o.State, o.Began, o.ledger.Past = OperationRunning, o.Now, o.ledger.Until
	}
	if len(seqs) == 0 {
		return nil
	}
	n, err := s.q.Exec(ctx, s.store.SQL.TargetsIn+" where seq in"+list(len(seqs)), append([]any{o.seq}, seqs...)...)
	o.Total += int(n)
	return err
}

// countRead is CountLetters for a filter that the database cannot judge.
func (s *Store) countRead(ctx context.Context, f LetterFilter) (out []LetterCount, err error) {
	sums := map[[3]string]*LetterCount{}
	left := f.Limit
	for {
		f.Limit = min(left, 1000)
		page, err := s.LetterPage(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, l := range page.Letters {
			key := [3]string{l.Kind, l.Queue, l.Reason}
			if sums[key] == nil {
				sums[key] = &LetterCount{Kind: l.Kind, Queue: l.Queue, Reason: l.Reason, Oldest: l.DiedAt, Newest: l.DiedAt}
			}
			sums[key].add(l)
		}
		if left -= len(page.Letters); left <= 0 || page.Next == 0 {
			break
		}
		f.Past = page.Next
	}
	for _, c := range sums {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b LetterCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Queue, b.Queue),
			cmp.Compare(a.Reason, b.Reason))
	})
	return out, nil
}

// add counts a letter.
func (c *LetterCount) add(l Letter) {
	c.Count++
	if l.DiedAt.Before(c.Oldest) {
		c.Oldest = l.DiedAt
	}
	if l.DiedAt.After(c.Newest) {
		c.Newest = l.DiedAt
	}
}
