package failure

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/fingerprint"
	"github.com/posthorn/posthorn/internal/tap"
	"github.com/posthorn/posthorn/store"
)

// A Trial is what today's handler makes of a dead letter, and would have done.
type Trial struct {
	Letter  store.Letter
	Refused error // why it was not tried, one of the errors below; then the rest is empty
	// Err is what the handler fails with today; nil: it would be done, unless the commit
	// itself failed.
	Err   error
	Class driver.Class // of Err
	// Fingerprint is that of the group in which the letter would be if it died of Err.
	Fingerprint string
	// Differs: Err is of another fault than the letter died of, by their fingerprints.
	Differs bool
	// Rows is how many rows the transaction has inserted, updated and deleted, also if it
	// has failed then; -1: unknown.
	Rows int64
	// Sent are the messages that it would send with its commit; with an Err there is none,
	// and they are those that it had sent before. Outside are those that it would
	// send whether it fails or not, since it does so outside the transaction. None was
	// sent.
	Sent, Outside []driver.Envelope
	Took          time.Duration // of both parts
	Dirty         string        // what it left in the session; empty: nothing
}

// Why a letter is not tried. Compare with errors.Is.
var (
	// ErrNotTransactional: what its handler does cannot be undone.
	ErrNotTransactional = errors.New("its handler is not transactional: what it does cannot be undone")
	// ErrSlowPart: its handler does slow work first, which is not undone.
	ErrSlowPart = errors.New("its handler has a slow part, which is not undone")
)

// TryOptions are the settings of Try.
type TryOptions struct {
	Mux        *posthorn.Mux
	Dispatcher *posthorn.Dispatcher
	SlowPart   bool         // run the slow part of handlers that have one: what it does is done
	Log        *slog.Logger // for the handlers; nil means silence
}

// tryGrace is how long after its deadline a slow part is waited for.
const tryGrace = 2 * time.Second

// Try runs today's handler on a dead letter, in a transaction that is always rolled
// back: see store.Store.Try. The letter stays as it is. A handler that is not
// transactional, or unknown, or has a slow part that is not to be run, is not tried, and
// Trial.Refused says why; so is what the database could not undo with certainty. What a
// handler does by other ways than its transaction and the context's dispatcher (a
// connection of its own, a network, a file) is not undone, and cannot be seen. The error
// is the store's own, or the cause of ctx's end, which is no fault of the handler's: what
// that would have ended with is not known then.
func Try(ctx context.Context, st *store.Store, l store.Letter, o TryOptions) (Trial, error) {
	t := &trying{Trial: Trial{Letter: l}, o: o}
	if t.Refused = t.refusal(); t.Refused != nil {
		return t.Trial, nil
	}
	began := time.Now()
	effect, err := t.start(ctx)
	if ctx.Err() != nil {
		return t.Trial, t.cutShort(ctx)
	}
	if err != nil {
		t.judge(err)
		t.Took, t.Rows = time.Since(began), 0
		return t.result(), nil
	}
	if effect == nil { // it only acknowledges
		effect = func(context.Context, *posthorn.Tx) error { return nil }
	}
	got, err := st.Try(ctx, driver.Unit{
		Delivery: t.delivery(), Alone: t.handler.Alone(), Timeout: t.handler.Timeout(), Context: t.context(ctx),
		Effect: effect.Bind(o.Dispatcher),
	})
	if ctx.Err() != nil {
		return t.Trial, t.cutShort(ctx)
	}
	if errors.Is(err, store.ErrNoTrial) {
		t.Refused = err
		return t.Trial, nil
	}
	if err != nil {
		return t.Trial, err
	}
	t.judge(got.Err)
	t.Took, t.Rows, t.Sent, t.Dirty = time.Since(began), got.Rows, got.Sent, got.Dirty
	return t.result(), nil
}

// cutShort says that nobody has waited for the end.
func (t *trying) cutShort(ctx context.Context) error {
	return fmt.Errorf("try dead letter %s: %w", t.Letter.ID, context.Cause(ctx))
}

// trying is a Trial in the making.
type trying struct {
	Trial
	o       TryOptions
	handler *posthorn.Handler
	mu      sync.Mutex
	outside []driver.Envelope // by whatever goroutine, perhaps after the end
}

// refusal is why the letter is not tried.
func (t *trying) refusal() error {
	h, ok := t.o.Mux.Handler(t.Letter.Kind)
	switch {
	case !ok:
		return fmt.Errorf("%w: %s", ErrUncheckable, t.Letter.Kind)
	case !h.Transactional():
		return ErrNotTransactional
	case h.Slow() && !t.o.SlowPart:
		return ErrSlowPart
	}
	t.handler = h
	return nil
}

// start runs what comes before the transaction.
func (t *trying) start(ctx context.Context) (effect posthorn.Effect, err error) {
	ctx, cancel := context.WithTimeoutCause(t.context(ctx), t.handler.Timeout(), driver.ErrTimeout)
	defer cancel()
	found := make(chan posthorn.Effect, 1) // else one that is stuck could write what is read here
	err = store.Bounded(func() error {
		effect, err := t.handler.Start(ctx, t.delivery())
		found <- effect
		return err
	}, t.patience(ctx))
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return nil, err
	}
	return <-found, nil
}

// patience is how long a slow part is waited for.
func (t *trying) patience(ctx context.Context) time.Duration {
	limit := t.handler.Timeout()
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, max(time.Until(end), 0))
	}
	return limit + tryGrace
}

// context is the handler's.
func (t *trying) context(ctx context.Context) context.Context {
	ctx = posthorn.WithDelivery(ctx, t.delivery(), tap.Logger(t.o.Log))
	return posthorn.WithoutSending(ctx, func(envs ...driver.Envelope) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.outside = append(t.outside, envs...)
	})
}

// delivery is what the handler sees: the first attempt after a retry.
func (t *trying) delivery() driver.Delivery {
	env := t.Letter.Envelope
	env.Attempt = 0
	return driver.Delivery{Envelope: env, Deliveries: 1}
}

// judge notes the outcome.
func (t *trying) judge(err error) {
	if t.Err = err; err == nil {
		return
	}
	t.Class = posthorn.ClassOf(err)
	f := fingerprint.FailureOf(t.Letter.Kind, t.Class, err)
	var panicked *posthorn.PanicError
	if errors.As(err, &panicked) {
		f.Stack = panicked.Stack
	}
	t.Fingerprint = fingerprint.Of(f)
	t.Differs = !t.isOf(f)
}

// isOf reports whether the letter died of a fault. A letter that an older version has
// left has a fingerprint without the types of its error, or none yet.
func (t *trying) isOf(f fingerprint.Failure) bool {
	was := t.Letter.Fingerprint
	if was == "" {
		return t.Class == t.Letter.Class && fingerprint.Normal(f.Text) == fingerprint.Normal(t.Letter.Error)
	}
	bare := f
	bare.Chain, bare.Own = nil, ""
	return was == t.Fingerprint || was == fingerprint.Of(bare)
}

func (t *trying) result() Trial {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Outside = t.outside
	return t.Trial
}
