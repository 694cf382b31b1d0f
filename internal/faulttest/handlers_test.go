package faulttest_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/posthorn/posthorn"
	seen "github.com/posthorn/posthorn/internal/witness"
)

// A plan is a message whose handler does what Fate says.
type plan struct {
	N    int
	Fate string

	Secret seen.Hidden `json:"secret"`
}

// Kind of a plan that is handled in two parts.
func (plan) Kind() string { return "plan" }

// planTx is a plan that is handled in one transaction.
type planTx struct{ plan }

// Kind of a plan that is handled in one transaction.
func (planTx) Kind() string { return "plan_tx" }

// mux has the handlers of a rig.
func (r *rig) mux() *posthorn.Mux {
	m := posthorn.NewMux()
	posthorn.HandleTx(m, func(ctx context.Context, tx *posthorn.Tx, p planTx) error {
		return r.effect(ctx, tx, p.plan)
	})
	posthorn.HandleEffect(m, func(_ context.Context, p plan) (posthorn.Effect, error) {
		time.Sleep(rand.N(3 * time.Millisecond))
		return func(ctx context.Context, tx *posthorn.Tx) error { return r.effect(ctx, tx, p) }, nil
	})
	return m
}

// effect writes the row that must exist once, and then does what its fate says.
func (r *rig) effect(ctx context.Context, tx *posthorn.Tx, p plan) error {
	d, _ := posthorn.DeliveryFrom(ctx)
	nth := r.seen.start(d, p)
	defer r.seen.leave()
	if _, err := tx.ExecContext(ctx, r.kind.insert, p.N); err != nil {
		return err
	}
	switch {
	case p.Fate == reject:
		return posthorn.Reject(errors.New("as planned"))
	case p.Fate == failOnce && d.Attempt == 0:
		return errors.New("as planned, once")
	case p.Fate == dawdle && nth == 1:
		time.Sleep(4 * time.Second)
		_, err := tx.ExecContext(ctx, r.kind.update, 1)
		return err
	case p.Fate == linger && nth == 1:
		r.seen.met(linger)
		time.Sleep(2 * time.Second)
		_, err := tx.ExecContext(ctx, "select v from pair")
		return err
	}
	err := r.clash(ctx, tx, p, nth)
	if err != nil {
		r.seen.met(p.Fate)
	}
	return err
}

// clash does what gets in the way of others.
func (r *rig) clash(ctx context.Context, tx *posthorn.Tx, p plan, nth int) error {
	switch {
	case p.Fate == deadlock:
		first := 1 + p.N%2
		if _, err := tx.ExecContext(ctx, r.kind.update, first); err != nil {
			return err
		}
		time.Sleep(rand.N(2 * time.Millisecond))
		_, err := tx.ExecContext(ctx, r.kind.update, 3-first)
		return err
	case p.Fate == conflict && nth < 3:
		_, err := tx.ExecContext(ctx, r.kind.conflict)
		return err
	case p.Fate == locked:
		_, err := tx.ExecContext(ctx, "select v from pair where id = 1 for update nowait")
		return err
	}
	return nil
}
