package mysql

import (
	"context"
	"encoding/json"
	"math"
	"strings"

	"github.com/posthorn/posthorn/internal/failpoint"
	"github.com/posthorn/posthorn/internal/safety"
	"github.com/posthorn/posthorn/store"
)

// A stretch is a part of a queue's ready messages: a condition on the key in whose order they
// are claimed.
type stretch struct {
	where string
	args  []any
}

// stretches are the parts of a queue, in their order: of the priorities that have a mark what is
// due from there on, and between them all others. turn is the negative priority.
func stretches(marks []store.Mark) []stretch {
	var out []stretch
	between := func(high, low int) {
		if high >= low {
			out = append(out, stretch{`turn between ? and ?`, []any{-high, -low}})
		}
	}
	above := math.MaxInt16
	for _, m := range marks {
		between(above, m.Priority+1)
		out = append(out, stretch{`turn = ? and due_at >= ?`, []any{-m.Priority, m.Due}})
		above = m.Priority - 1
	}
	between(above, -math.MaxInt16)
	return out
}

// readySince is store.Parts.ReadySince.
func readySince(n store.Names) func(queue string, marks []store.Mark) (string, []any) {
	from := n.In(`exists(select 1 from posthorn_message force index (posthorn_message_turn)
		where ` + ready + ` and queue = ? and `)
	return func(queue string, marks []store.Mark) (string, []any) {
		var (
			parts []string
			args  []any
		)
		for _, s := range stretches(marks) {
			parts = append(parts, from+s.where+`)`)
			args = append(append(args, queue), s.args...)
		}
		return `(` + strings.Join(parts, ` or `) + `)`, args
	}
}

// A window is a part of a claim's candidates: so many, after so many others.
type window struct{ size, after int }

// look is a query for the candidates in a window.
func (w writer) look(t *store.Take, at window) (string, []any) {
	if len(t.Marks) == 0 {
		return w.candidates + inTurn + ` offset ?`, []any{t.Queue, at.size, at.after}
	}
	var (
		parts []string
		args  []any
	)
	for _, s := range stretches(t.Marks) {
		parts = append(parts, `(`+w.candidates+` and `+s.where+inTurn+`)`)
		args = append(append(append(args, t.Queue), s.args...), at.after+at.size)
	}
	all := `select number from (` + strings.Join(parts, ` union all `) + `) c limit ? offset ?`
	return all, append(args, at.size, at.after)
}

// takeSuspect leases a suspect.
func (w writer) takeSuspect(ctx context.Context, p *packet, t *store.Take) error {
	t.Begin()
	var seqs []int64
	p.add(clock) // what came before may have waited
	p.add(w.claimSuspect, t.Queue, t.Limit)
	err := p.query(ctx, func(r store.Row) error {
		return t.Row(store.First(r, func(seq int64) { seqs = append(seqs, seq) }))
	})
	if err != nil {
		return err
	}
	return w.lease(ctx, p, t, seqs)
}

// These bound how far a claim looks behind what others are claiming: the least that it looks
// at in a second window, of which each is some times as large as the one before; and how much it passes by.
const (
	nextWindow = 64
	wider      = 4
	maxPassed  = 5000
)

// take leases messages. It finds some without locking them, and locks those of
// them that are there still and that nobody else has locked. While others claim from the
// same queue there may be none, so it looks behind them.
func (w writer) take(ctx context.Context, p *packet, t *store.Take) error {
	if t.Suspects {
		return w.takeSuspect(ctx, p, t)
	}
	t.Begin()
	p.add(clock) // what came before may have waited
	var seqs []int64
	for at := (window{size: t.Limit}); at.after < maxPassed; at.size = max(nextWindow, wider*at.size) {
		query, args := w.look(t, at)
		p.add(w.mine[0]+query+w.mine[1], append(args, t.Queue, t.Limit)...)
		err := p.query(ctx, func(r store.Row) error {
			return t.Row(store.First(r, func(seq int64) { seqs = append(seqs, seq) }))
		})
		if err != nil {
			return err
		}
		if len(seqs) > 0 {
			break
		}
		found := 0
		p.add(`select count(*) from (`+query+`) f`, args...)
		if err := p.query(ctx, func(r store.Row) error { return r.Scan(&found) }); err != nil {
			return err
		}
		if found < at.size {
			break // there are no more
		}
		at.after += found
	}
	return w.lease(ctx, p, t, seqs)
}

// lease marks messages that are locked, and notes where to look when their lease is over.
func (w writer) lease(ctx context.Context, p *packet, t *store.Take, seqs []int64) error {
	if len(seqs) == 0 {
		return nil
	}
	args := []any{t.Token, t.Worker, t.Lease}
	for _, seq := range seqs {
		args = append(args, seq)
	}
	p.add(w.mark+list(len(seqs)), args...)
	if safety.Leases {
		text, err := json.Marshal(seqs)
		if err != nil {
			return err
		}
		p.add(w.leaseIn, t.Token, t.Worker, t.Lease, string(text))
	}
	return p.reach(ctx, failpoint.MidClaim)
}
