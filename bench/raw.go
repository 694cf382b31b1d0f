package main

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync"
	"time"
)

// claimBatch is the size of a claim in rawClaim.
const claimBatch = 500

// A bare is a table with the least that a queue needs and no system on it: what
// the machine can do at most with this database, driver and these settings.
type bare interface {
	// insert inserts n rows in one transaction. It may be called concurrently.
	insert(ctx context.Context, n int) error
	// claim marks the first n rows in one transaction, and reads them.
	claim(ctx context.Context, n int) ([]int64, error)
	// remove deletes rows in one transaction.
	remove(ctx context.Context, seqs []int64) error
	// take marks the first row in one transaction, in as few steps as there can be.
	take(ctx context.Context) error
	db() *sql.DB
	close() error
}

// withBare runs fn on a fresh table.
func withBare(
	ctx context.Context, s *site, fn func(bare) (map[string]float64, error),
) (figures map[string]float64, err error) {
	address, err := s.fresh(ctx)
	if err != nil {
		return nil, err
	}
	b, err := s.kind.bare(ctx, address)
	if err != nil {
		return nil, err
	}
	if err = s.check(ctx, address, b.db()); err == nil {
		figures, err = fn(b)
	}
	return figures, s.leave(ctx, address, err, b.close)
}

// bareRate is withBare where one rate is all that is measured.
func bareRate(ctx context.Context, s *site, fn func(bare) (float64, error)) (map[string]float64, error) {
	return withBare(ctx, s, func(b bare) (map[string]float64, error) {
		perSecond, err := fn(b)
		return map[string]float64{"rate": perSecond}, err
	})
}

// rawRun measures a limit of the machine, on one kind of store.
type rawRun func(ctx context.Context, r *rig, s *site) (map[string]float64, error)

// rawCommits is the rate of transactions of one INSERT each.
func rawCommits(callers int) rawRun {
	return func(ctx context.Context, r *rig, s *site) (map[string]float64, error) {
		return bareRate(ctx, s, func(b bare) (float64, error) {
			one := func() error { return b.insert(ctx, 1) }
			if _, err := together(callers, r.warming(), one); err != nil {
				return 0, err
			}
			return together(callers, r.spell, one)
		})
	}
}

// together is the rate of several callers that repeat a piece of work.
func together(callers int, spell time.Duration, one func() error) (float64, error) {
	rates, errs := make([]float64, callers), make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { rates[i], errs[i] = repeat(spell, 1, one) })
	}
	wg.Wait()
	var all float64
	for _, rate := range rates {
		all += rate
	}
	return all, firstError(errs)
}

// repeat calls fn until the spell is over; fn does n pieces of work each time.
func repeat(spell time.Duration, n int, fn func() error) (float64, error) {
	done, began := 0, time.Now()
	for time.Since(began) < spell {
		if err := fn(); err != nil {
			return 0, err
		}
		done += n
	}
	return float64(done) / time.Since(began).Seconds(), nil
}

// rawInsert is the rate of INSERTs in transactions of a thousand.
func rawInsert(ctx context.Context, r *rig, s *site) (map[string]float64, error) {
	return bareRate(ctx, s, func(b bare) (float64, error) {
		return repeat(r.spell, batch, func() error { return b.insert(ctx, batch) })
	})
}

// rawClaim is the rate of claim and delete in batches, two commits a batch.
func rawClaim(ctx context.Context, r *rig, s *site) (map[string]float64, error) {
	n := max(int(float64(s.claims)*r.scale)/claimBatch, 1) * claimBatch
	return bareRate(ctx, s, func(b bare) (float64, error) {
		for range n / claimBatch {
			if err := b.insert(ctx, claimBatch); err != nil {
				return 0, err
			}
		}
		began := time.Now()
		for range n / claimBatch {
			if err := claimAndRemove(ctx, b); err != nil {
				return 0, err
			}
		}
		return float64(n) / time.Since(began).Seconds(), nil
	})
}

func claimAndRemove(ctx context.Context, b bare) error {
	seqs, err := b.claim(ctx, claimBatch)
	if err != nil {
		return err
	}
	if len(seqs) != claimBatch {
		return fmt.Errorf("%d rows claimed, not %d", len(seqs), claimBatch)
	}
	return b.remove(ctx, seqs)
}

// rawLatency is what the two commits of a message take at a steady rate: its
// INSERT, and, as soon as that is committed, what marks it as claimed. Both are
// done by this process, so that none has to be woken in between.
func rawLatency(ctx context.Context, r *rig, s *site) (map[string]float64, error) {
	return withBare(ctx, s, func(b bare) (map[string]float64, error) {
		took := make([]time.Duration, 0, int(r.latency/interval))
		err := steadily(ctx, warmUp+cap(took), func(i int) error {
			began := time.Now()
			if err := b.insert(ctx, 1); err != nil {
				return err
			}
			err := b.take(ctx)
			if i >= warmUp {
				took = append(took, time.Since(began))
			}
			return err
		})
		slices.Sort(took)
		return latencies(took), err
	})
}

// taken checks that one row was.
func taken(err error, n int) error {
	if err == nil && n != 1 {
		return fmt.Errorf("%d rows taken, not one", n)
	}
	return err
}

// rawRows are what a claim gives back: a sequence and a body each.
type rawRows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
}

// readClaimed reads the rows of a claim.
func readClaimed(rows rawRows) ([]int64, error) {
	var seqs []int64
	for rows.Next() {
		var seq int64
		var body []byte
		if err := rows.Scan(&seq, &body); err != nil {
			return nil, err
		}
		seqs = append(seqs, seq)
	}
	return seqs, rows.Err()
}
