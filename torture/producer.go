package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/torture/oracle"
)

// Bounds of what producers do.
const (
	maxBatch    = 30                     // messages of one call
	maxBacklog  = 1500                   // messages that wait, above which a producer waits, too
	lookEvery   = 250 * time.Millisecond // at the backlog
	sendWithin  = 20 * time.Second
	longestRest = 30 * time.Millisecond // between two calls
)

// A producer sends messages and keeps a ledger.
type producer struct {
	job    job
	store  *store.Store
	ledger *ledger
	rnd    *rand.Rand
	n      int // messages so far
	looked time.Time
}

// produce sends until ctx ends or enough was sent. What has begun is finished.
func produce(ctx context.Context, j job, s *store.Store, v *voice) error {
	l, err := createLedger(j.Ledger)
	if err != nil {
		return err
	}
	p := &producer{job: j, store: s, ledger: l, rnd: rand.New(rand.NewPCG(j.Seed, 0))}
	v.say(event{Ready: j.Name})
	for ctx.Err() == nil && (j.Count == 0 || p.n < j.Count) {
		before := p.n
		if err := p.sendBatch(ctx); err != nil {
			return errors.Join(err, l.close())
		}
		v.say(event{Sent: p.n - before})
		wait(ctx, time.Duration(p.rnd.Int64N(int64(longestRest))))
		p.keepBack(ctx)
	}
	return l.close()
}

// sendBatch sends some messages in one call.
func (p *producer) sendBatch(ctx context.Context) error {
	size := 1 + p.rnd.IntN(maxBatch)
	if p.job.Count > 0 {
		size = min(size, p.job.Count-p.n)
	}
	var ins []oracle.Intent
	var envs []driver.Envelope
	for range size {
		fate := pickFate(p.rnd, p.job.Without)
		id := fmt.Sprintf("%s-%d", p.job.Name, p.n)
		env := compose(p.rnd, id, p.n, fate)
		p.n++
		if fate == oracle.TooLarge || fate == oracle.Twin { // refused, with all of its call
			if err := p.send(ctx, []oracle.Intent{intent(env, fate)}, refusable(env, fate)); err != nil {
				return err
			}
			continue
		}
		ins, envs = append(ins, intent(env, fate)), append(envs, env)
	}
	if len(ins) == 0 {
		return nil
	}
	return p.send(ctx, ins, envs)
}

func intent(env driver.Envelope, fate oracle.Fate) oracle.Intent {
	return oracle.Intent{ID: env.ID, Kind: env.Kind, Fate: fate, Digest: digest(env.Body)}
}

// refusable is a call that the store must refuse.
func refusable(env driver.Envelope, fate oracle.Fate) []driver.Envelope {
	if fate == oracle.Twin {
		return []driver.Envelope{env, env}
	}
	return []driver.Envelope{env}
}

// send writes the intents down, sends, and writes down what became of it. Only an
// error of the ledger is one.
func (p *producer) send(ctx context.Context, ins []oracle.Intent, envs []driver.Envelope) error {
	if err := p.ledger.intend(ins); err != nil {
		return err
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendWithin)
	defer cancel()
	err := p.store.Send(within, envs...)
	if err != nil {
		wait(ctx, 50*time.Millisecond)
	}
	return p.ledger.note(ins, outcomeOf(err))
}

// outcomeOf is what the contract of Send says of an error.
func outcomeOf(err error) oracle.Outcome {
	switch {
	case err == nil:
		return oracle.OK
	case errors.Is(err, driver.ErrOutcomeUnknown):
		return oracle.Unknown
	default:
		return oracle.Failed
	}
}

// keepBack waits while too much waits already.
func (p *producer) keepBack(ctx context.Context) {
	if time.Since(p.looked) < lookEvery {
		return
	}
	for ctx.Err() == nil {
		p.looked = time.Now()
		stats, err := p.store.Stats(ctx)
		if err != nil {
			return
		}
		waiting := int64(0)
		for _, q := range stats {
			waiting += q.Ready + q.InFlight
		}
		if waiting < maxBacklog {
			return
		}
		wait(ctx, lookEvery)
	}
}
