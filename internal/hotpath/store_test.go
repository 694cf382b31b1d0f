package hotpath_test

import (
	"context"
	"testing"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
)

func BenchmarkDispatch(b *testing.B) {
	onEachStore(b, func(r *rig) {
		for r.Loop() {
			r.dispatch()
		}
	})
}

func (r *rig) dispatch() {
	if _, err := r.dispatcher.Dispatch(r.Context(), newNote()); err != nil {
		r.Error(err)
	}
}

// One turn is one message of a thousand.
func BenchmarkDispatchMany(b *testing.B) {
	onEachStore(b, func(r *rig) { r.ResetTimer(); r.preload() })
}

// Many callers share transactions.
func BenchmarkDispatchBy64Callers(b *testing.B) {
	onEachStore(b, func(r *rig) {
		r.SetParallelism(32)
		r.RunParallel(func(p *testing.PB) {
			for p.Next() {
				r.dispatch()
			}
		})
	})
}

// One turn is one message of a batch, as a worker claims and acknowledges it.
func BenchmarkClaimAndAck(b *testing.B) {
	onEachStore(b, func(r *rig) {
		r.preload()
		c := r.consume()
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		r.ResetTimer()
		for done := 0; done < r.N; {
			ds, err := c.Receive(ctx, 500)
			if err != nil {
				r.Fatal(err)
			}
			ss := make([]driver.Settlement, len(ds))
			for i, d := range ds {
				ss[i] = driver.Settlement{Delivery: d, Verdict: driver.Ack}
			}
			if err := c.Settle(ctx, ss...); err != nil {
				r.Fatal(err)
			}
			done += len(ds)
		}
		r.StopTimer()
		r.empty()
	})
}

func BenchmarkHandle(b *testing.B) {
	onEachStore(b, func(r *rig) {
		r.drain(func(m *posthorn.Mux) {
			posthorn.Handle(m, func(context.Context, note) error { return nil })
		})
	})
}

func BenchmarkHandleTx(b *testing.B) {
	onEachStore(b, func(r *rig) {
		r.drain(func(m *posthorn.Mux) {
			posthorn.HandleTx(m, func(ctx context.Context, tx *posthorn.Tx, n note) error { return r.effect(ctx, tx, n) })
		})
		r.once()
	})
}

// Where a handler needs no answer it queues its statement.
func BenchmarkHandleQueued(b *testing.B) {
	onEachStore(b, func(r *rig) {
		r.drain(func(m *posthorn.Mux) {
			posthorn.HandleTx(m, func(ctx context.Context, tx *posthorn.Tx, n note) error {
				return tx.Queue(ctx, r.kind.insert, n.N, n.Text)
			})
		})
		r.once()
	})
}

func BenchmarkHandleEffect(b *testing.B) {
	onEachStore(b, func(r *rig) {
		r.drain(func(m *posthorn.Mux) {
			posthorn.HandleEffect(m, func(_ context.Context, n note) (posthorn.Effect, error) { return r.after(n), nil })
		})
		r.once()
	})
}

// after is the effect that a slow handler returns.
func (r *rig) after(n note) posthorn.Effect {
	return func(ctx context.Context, tx *posthorn.Tx) error { return r.effect(ctx, tx, n) }
}

// effect is the handlers' INSERT.
func (r *rig) effect(ctx context.Context, tx *posthorn.Tx, n note) error {
	_, err := tx.ExecContext(ctx, r.kind.insert, n.N, n.Text)
	return err
}

// once makes sure that each message has one effect.
func (r *rig) once() {
	r.Helper()
	if n := r.count("effect"); n != r.N {
		r.Fatalf("%d effects of %d messages", n, r.N)
	}
}
