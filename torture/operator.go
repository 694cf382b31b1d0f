package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/torture/oracle"
)

// Bounds of what operators do.
const (
	operators      = 1
	maxOperations  = 4 // that are not over, above which none is made
	maxLetters     = 300
	maxHidden      = 30 // letters that are discarded or restored at a time: they are out of the way
	lookOperations = 30
	longestPause   = 700 * time.Millisecond // between two acts
)

// An operator makes operations over dead letters, pauses, resumes and cancels them, keeps a
// ledger, and carries operations on.
type operator struct {
	job    job
	store  *store.Store
	ledger *ledger
	rnd    *rand.Rand
	n      int // operations so far
}

// operate makes operations until ctx ends.
func (p Process) operate(ctx context.Context, s *store.Store) error {
	l, err := createLedger(p.job.Ledger)
	if err != nil {
		return err
	}
	o := &operator{job: p.job, store: s, ledger: l, rnd: rand.New(rand.NewPCG(p.job.Seed, 0))}
	defer p.execute(ctx, s)()
	p.voice.say(event{Ready: p.job.Name})
	for ctx.Err() == nil {
		if err := o.act(ctx); err != nil {
			return errors.Join(err, l.close())
		}
		wait(ctx, time.Duration(o.rnd.Int64N(int64(longestPause))))
	}
	return l.close()
}

// execute carries operations on, as every process does that works for itself, until it is
// told to stop. Who stands still for longer than the lease of a worker has lost these, too.
func (p Process) execute(ctx context.Context, s *store.Store) (stop func()) {
	e := failure.NewExecutor(s, failure.ExecutorOptions{
		Name: p.job.Name, Lease: lease, Poll: lease / 10, Share: 0.5, Mux: (&cast{}).mux(), Log: p.log,
	})
	ctx, cancel := context.WithCancel(ctx)
	var executing sync.WaitGroup
	executing.Go(func() { _ = e.Run(ctx) }) // it returns nil
	return func() {
		cancel()
		executing.Wait()
	}
}

// act does one thing. Only an error of the ledger is one: where the store is away, or
// somebody else was faster, another turn comes.
func (o *operator) act(ctx context.Context) error {
	ops, err := o.store.Operations(ctx, store.OperationFilter{Limit: lookOperations})
	if err != nil {
		return nil //nolint:nilerr // the store is away
	}
	open := 0
	for _, op := range ops {
		if !op.Ends() {
			open++
			o.turn(ctx, op)
		}
	}
	if open >= maxOperations {
		return nil
	}
	return o.order(ctx)
}

// turn pauses, resumes or cancels an operation by chance. One that has stopped itself is
// resumed, or given up.
func (o *operator) turn(ctx context.Context, op store.Operation) {
	n := o.rnd.IntN(60)
	if op.State == store.OperationStopped || op.State == store.OperationPaused {
		n %= 6
	}
	switch {
	case n == 0:
		_, _ = o.store.CancelOperation(ctx, op.ID, "torture")
	case n < 4:
		_, _ = o.store.ResumeOperation(ctx, op.ID)
	case n == 6:
		_, _ = o.store.PauseOperation(ctx, op.ID, "torture")
	}
}

// order makes an operation, with a line in the ledger before and after.
func (o *operator) order(ctx context.Context) error {
	op := o.invent(ctx)
	o.n++
	op.Reason = fmt.Sprintf("%s-%d", o.job.Name, o.n)
	order := oracle.Order{Key: op.Reason, Action: string(op.Action)}
	if err := o.ledger.order(order); err != nil {
		return err
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendWithin)
	defer cancel()
	_, err := o.store.StartOperation(within, op)
	return o.ledger.end(outcomeOf(err), order.Key)
}

// correction mends what is a typo, and fits nothing else.
const correction = `[{"op": "test", "path": "/fate", "value": "` + string(oracle.Typo) + `"},
	{"op": "replace", "path": "/fate", "value": "` + string(oracle.Done) + `"}]`

// invent thinks of an operation. Most are retries; all mean so many letters that they take
// a while, and choose them in another way each time.
func (o *operator) invent(ctx context.Context) store.Operation {
	op := store.Operation{Action: store.ActionRetry, Filter: o.choose(ctx)}
	switch o.rnd.IntN(10) {
	case 0:
		op.Action, op.Filter.Limit = store.ActionRemove, 1+o.rnd.IntN(maxHidden)
	case 1, 2:
		op.Action, op.Filter.Limit = store.ActionRestore, 1+o.rnd.IntN(maxHidden)
	case 3, 4:
		op.Action, op.Patch = store.ActionEdit, []byte(correction)
	default:
		op.Canary = o.rnd.IntN(3) == 0
		if o.rnd.IntN(3) == 0 {
			op.Rate = float64(20 + o.rnd.IntN(200))
		}
	}
	return op
}

// choose is a filter: all, a kind, a reason, or a group.
func (o *operator) choose(ctx context.Context) store.LetterFilter {
	f := store.LetterFilter{Limit: 1 + o.rnd.IntN(maxLetters)}
	switch o.rnd.IntN(4) {
	case 0:
		kinds := []string{planEffect{}.Kind(), planTx{}.Kind(), planRaw{}.Kind()}
		f.Kind = kinds[o.rnd.IntN(len(kinds))]
	case 1:
		f.Reason = driver.Reasons()[o.rnd.IntN(2)]
	case 2:
		ls, err := o.store.Letters(ctx, store.LetterFilter{Limit: maxHidden, Bare: true})
		if err == nil && len(ls) > 0 {
			f.Group = ls[o.rnd.IntN(len(ls))].Fingerprint
		}
	}
	return f
}

// An overseer brings all operations to their end when nobody makes any more, but for a last
// one of its own: what was mended is to be done, whatever came of the others.
type overseer struct {
	store   *store.Store
	ledger  *ledger
	resumed map[string]bool
	tries   int // to make the last one
	turns   int // letters that waited for theirs, when it has looked last
}

// lastKey begins the key of the last operation.
const lastKey = "last"

// close reports whether all operations are over, the last one, too. Where that one could not
// be made, it is tried again: only the store says whether it was.
func (v *overseer) close(ctx context.Context) (bool, error) {
	ops, err := allOperations(ctx, v.store)
	if err != nil {
		return false, nil //nolint:nilerr // the store is away
	}
	made := slices.ContainsFunc(ops, func(op store.Operation) bool { return strings.HasPrefix(op.Reason, lastKey) })
	if over := v.look(ctx, ops); !over || made {
		return over, nil
	}
	return false, v.order(ctx)
}

// order tries to make the last operation.
func (v *overseer) order(ctx context.Context) error {
	v.tries++
	key := fmt.Sprintf("%s-%d", lastKey, v.tries)
	if err := v.ledger.order(oracle.Order{Key: key, Action: oracle.Retry}); err != nil {
		return err
	}
	harmless := store.Term{ // what ends processes would hold all up for long
		Field: store.FieldReason, Op: store.OpIs, Values: []string{driver.ReasonCrashed}, Not: true,
	}
	_, err := v.store.StartOperation(ctx, store.Operation{
		Action: store.ActionRetry, Filter: store.LetterFilter{Terms: []store.Term{harmless}}, Reason: key,
	})
	return v.ledger.end(outcomeOf(err), key)
}

// look resumes what is paused or has stopped by itself, and gives up what does so again. It
// reports whether all operations are over.
func (v *overseer) look(ctx context.Context, ops []store.Operation) bool {
	s, over := v.store, true
	v.turns = 0
	for _, op := range ops {
		if over = over && op.Ends(); !op.Ends() {
			v.turns += op.Left()
		}
		switch {
		case op.State != store.OperationStopped && op.State != store.OperationPaused:
		case v.resumed[op.ID]:
			_, _ = s.CancelOperation(ctx, op.ID, "the run ends") // it is looked at again
		default:
			_, err := s.ResumeOperation(ctx, op.ID)
			v.resumed[op.ID] = err == nil
		}
	}
	return over
}

// allOperations reads all of them.
func allOperations(ctx context.Context, s *store.Store) (all []store.Operation, err error) {
	for f := (store.OperationFilter{}); ; {
		page, err := s.Operations(ctx, f)
		if err != nil || len(page) == 0 {
			return all, err
		}
		all = append(all, page...)
		f.Past = page[len(page)-1].Key()
	}
}
