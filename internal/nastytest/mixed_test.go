package nastytest_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/witness"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/worker"
)

// A good message checks that its session is virgin and inserts its effect.
type good struct {
	Secret witness.Hidden `json:"secret"`
}

// Kind names it.
func (good) Kind() string { return "good" }

// An evil is the message of a nasty handler: the number of its case.
type evil struct {
	Case int

	Secret witness.Hidden `json:"secret"`
}

type (
	evilTx     struct{ evil } // handled by HandleTx
	evilEffect struct{ evil } // handled by HandleEffect
	evilRaw    struct{ evil } // handled by HandleTx with WithRawTx
	evilSlow   struct{ evil } // handled by HandleTx with a short deadline
)

// Kind names it.
func (evilTx) Kind() string { return "evil_tx" }

// Kind names it.
func (evilEffect) Kind() string { return "evil_effect" }

// Kind names it.
func (evilRaw) Kind() string { return "evil_raw" }

// Kind names it.
func (evilSlow) Kind() string { return "evil_slow" }

// message makes a message of a case by chance.
func message(i int, c nasty) posthorn.Message {
	e := evil{Case: i}
	switch {
	case c.slow:
		return evilSlow{e}
	case c.rawOnly:
		return evilRaw{e}
	}
	return []posthorn.Message{evilTx{e}, evilEffect{e}, evilRaw{e}}[rand.N(3)]
}

// A play runs the cases of a rig in a worker.
type play struct {
	*rig
	mu     sync.Mutex
	scenes []*scene
}

func (p *play) evil(ctx context.Context, tx *posthorn.Tx, e evil) error {
	d, _ := posthorn.DeliveryFrom(ctx)
	s := &scene{t: p.T, kind: p.kind, id: d.ID, alone: d.Kind == evilRaw{}.Kind()}
	p.mu.Lock()
	p.scenes = append(p.scenes, s)
	p.mu.Unlock()
	return s.run(ctx, tx, p.kind.corpus[e.Case])
}

// finish waits for what outlived its handler.
func (p *play) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.scenes {
		s.strays.Wait()
	}
}

// mux registers all the cases with each kind of handler.
func (p *play) mux() *posthorn.Mux {
	m := posthorn.NewMux()
	once := posthorn.WithRetry(posthorn.RetryPolicy{MaxRetries: posthorn.NoRetry})
	posthorn.HandleTx(m, func(ctx context.Context, tx *posthorn.Tx, _ good) error {
		_, err := handleGood(ctx, tx, p.kind, p.virgin)
		return err
	}, once)
	posthorn.HandleTx(m, func(ctx context.Context, tx *posthorn.Tx, e evilTx) error {
		return p.evil(ctx, tx, e.evil)
	}, once)
	posthorn.HandleEffect(m, func(_ context.Context, e evilEffect) (posthorn.Effect, error) {
		return func(ctx context.Context, tx *posthorn.Tx) error { return p.evil(ctx, tx, e.evil) }, nil
	}, once)
	posthorn.HandleTx(m, func(ctx context.Context, tx *posthorn.Tx, e evilRaw) error {
		return p.evil(ctx, tx, e.evil)
	}, once, posthorn.WithRawTx())
	posthorn.HandleTx(m, func(ctx context.Context, tx *posthorn.Tx, e evilSlow) error {
		return p.evil(ctx, tx, e.evil)
	}, once, posthorn.WithTimeout(50*time.Millisecond))
	return m
}

// A worker handles the corpus again and again, mixed with as many good messages.
func TestNastyHandlersAmongGoodOnesDoubleAndLoseNothing(t *testing.T) {
	onEachServer(t, func(t *testing.T, k kind) {
		p := &play{rig: newRig(t, k, 0)}
		p.consume()
		n := 1000
		if *long {
			n *= 10
		}
		expect := p.fill(n)
		w, err := worker.New(p.store, p.mux(), worker.Options{Concurrency: 32})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := w.Run(ctx); err != nil {
				t.Errorf("worker: %v", err)
			}
		})
		p.awaitEmpty()
		stop()
		running.Wait()
		p.finish()
		p.verify(expect)
	})
}

// fill sends messages, half of them good, and returns what each one is.
func (p *play) fill(n int) map[string]*nasty {
	p.Helper()
	expect := map[string]*nasty{}
	for i := range n {
		msg, c := posthorn.Message(good{}), (*nasty)(nil)
		if i%2 == 0 {
			nth := i / 2 % len(p.kind.corpus)
			c = &p.kind.corpus[nth]
			msg = message(nth, *c)
		}
		id, err := p.sender.Dispatch(p.Context(), msg, posthorn.WithHeader("authorization", witness.Secret))
		if err != nil {
			p.Fatal(err)
		}
		expect[id] = c
	}
	return expect
}

// awaitEmpty waits until no message is live.
func (p *play) awaitEmpty() {
	p.Helper()
	for deadline := time.Now().Add(2 * patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		stats, err := p.store.Stats(p.Context())
		if err != nil {
			p.Fatal(err)
		}
		live := int64(0)
		for _, q := range stats {
			live += q.Ready + q.Delayed + q.InFlight + q.Suspects
		}
		if live == 0 {
			return
		}
	}
	p.Fatalf("messages are left that nobody handles: %s", p.leftovers())
}

// title names a case, or a good message.
func (c *nasty) title() string {
	if c == nil {
		return "good"
	}
	return c.name
}

// reason is why a message is dead.
func (p *play) reason(id string) string {
	p.Helper()
	found, err := p.store.Find(p.Context(), id)
	if err != nil || found == nil || found.Letter == nil {
		return ""
	}
	return string(found.Letter.Class) + ": " + found.Letter.Error
}

// leftovers says what is live.
func (p *play) leftovers() (out string) {
	rows, err := p.store.DB().QueryContext(p.Context(), `
		select concat(m.kind, ' ', m.deliveries, ' ', m.body, ' ', a.error)
		from posthorn_message m left join posthorn_attempt a on a.message_id = m.id`)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = rows.Close() }() // what is there is enough
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return err.Error()
		}
		out += "\n" + line
	}
	return out
}

// verify checks that what should be done has one effect, and that the rest is
// dead and has none.
func (p *play) verify(expect map[string]*nasty) {
	p.Helper()
	done, dead, lost, doubled := 0, 0, 0, 0
	for id, c := range expect {
		n, place := p.effects(id), p.place(id)
		isDone, isDead := n == 1 && place == "", n == 0 && place == store.PlaceDead
		switch {
		case isDone:
			done++
		case isDead:
			dead++
		case n > 1:
			doubled++
		default:
			lost++
		}
		mustDone := c == nil || c.want == nil && !c.chance || c.early || c.once
		if ok := isDone && (mustDone || c.chance) || isDead && !mustDone; !ok {
			p.Errorf("%s %s: %d effects, place %q: %s", id, c.title(), n, place, p.reason(id))
		}
	}
	p.Logf("%d messages = %d done + %d dead; lost %d, doubled %d", len(expect), done, dead, lost, doubled)
	if n := p.effects("ghost"); n != 0 {
		p.Errorf("%d effects were committed without a settlement", n)
	}
}
