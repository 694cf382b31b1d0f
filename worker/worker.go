package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/inhand"
	"github.com/posthorn/posthorn/internal/safety"
	"github.com/posthorn/posthorn/worker/verdict"
)

// Why a worker stops, as StopCause says it.
var (
	// ErrStuck: a handler has run on after its deadline for longer than StuckLimit, or
	// every slot is held by one.
	ErrStuck = errors.New("handlers are stuck")
	// ErrLimit: one of its limits is reached.
	ErrLimit = errors.New("limit reached")
	// ErrStopOrder: an operator told it to stop.
	ErrStopOrder = errors.New("told to stop by stop-workers")
	// errAsked: its context ended without a cause of its own.
	errAsked = errors.New("asked to stop")
)

// abandonAfter is how long a handler is waited for whose context was ended at
// the end of the drain time.
const abandonAfter = 2 * time.Second

// A Worker handles the messages of some queues of one transport. Run it once.
type Worker struct {
	id         string
	transport  driver.Transport
	roles      driver.Roles
	mux        *posthorn.Mux
	dispatcher *posthorn.Dispatcher
	opts       Options
	rules      verdict.Rules
	host       string

	consumer driver.Consumer
	hand     *hand               // what it holds
	work     chan *parcel        // claimed, not begun
	units    lanes               // effects to be committed
	ended    mailbox[*parcel]    // verdicts to be settled
	settling []driver.Settlement // of the call under way, or room for the next one
	stop     context.CancelCauseFunc
	handlers inhand.Context // the root of all handlers' contexts
	limbo    sync.WaitGroup // effects that were left behind
	weather  weather
	events   *events

	started time.Time
	count   struct{ handled, failed, verdicts, stuck atomic.Int64 }
	pace    pace
	reason  atomic.Pointer[error]
}

// New makes a worker. It fails when an option makes no sense, and with
// driver.ErrUnsupported when the transport cannot do what a handler needs.
func New(t driver.Transport, m *posthorn.Mux, o Options) (*Worker, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("worker options: %w", err)
	}
	o.Limits = o.Limits.jittered()
	w := &Worker{
		id: newID(), transport: t, roles: driver.RolesOf(t), mux: m, dispatcher: o.Dispatcher, opts: o,
		rules: verdict.Rules{MaxCrashes: o.MaxCrashes, Isolated: o.Isolated},
		hand:  newHand(), work: make(chan *parcel, o.Concurrency+o.Prefetch), events: newEvents(o.Observe),
	}
	w.handlers.Carry(context.Background(), inhand.Message{})
	w.units.init()
	w.ended.init()
	if err := w.checkHandlers(); err != nil {
		return nil, err
	}
	if w.dispatcher == nil {
		d, err := posthorn.NewDispatcher(t, posthorn.DispatcherOptions{Queue: o.Queues[0]})
		if err != nil {
			return nil, fmt.Errorf("worker options: %w", err)
		}
		w.dispatcher = d
	}
	w.host, _ = os.Hostname() // for display; an unknown host is shown as such
	return w, nil
}

// checkHandlers refuses handlers whose promise the transport cannot keep.
func (w *Worker) checkHandlers() error {
	if !w.transport.Capabilities().Bury {
		return fmt.Errorf("worker: the transport keeps no dead letters: %w", driver.ErrUnsupported)
	}
	if w.opts.Isolated && !w.transport.Capabilities().Suspects {
		return fmt.Errorf("worker: the transport keeps no suspects apart: %w", driver.ErrUnsupported)
	}
	for _, kind := range w.mux.Kinds() {
		if h, _ := w.mux.Handler(kind); h.Transactional() && w.roles.Transactor == nil {
			return fmt.Errorf("handler of %s needs a transaction: %w", kind, driver.ErrUnsupported)
		}
	}
	return nil
}

// newID is unique for each start of a worker.
func newID() string {
	return fmt.Sprintf("w-%d-%s", os.Getpid(), strings.ToLower(rand.Text()[:10]))
}

// ID is the worker's id in the registry; it is new for each Worker.
func (w *Worker) ID() string { return w.id }

// StopReason says why the worker stopped, or is stopping; empty while it runs.
func (w *Worker) StopReason() string {
	if err := w.StopCause(); err != nil {
		return err.Error()
	}
	return ""
}

// StopCause is why the worker stopped, or is stopping: ErrLimit, ErrStopOrder,
// ErrStuck, or the cause of the end of Run's context. It is nil while it runs.
func (w *Worker) StopCause() error {
	if cause := w.reason.Load(); cause != nil {
		return *cause
	}
	return nil
}

// Run handles messages until ctx ends, a limit is reached or an operator says
// stop. Then it takes no more, waits for the handlers in hand, at most for the
// drain time, gives back what could not finish at no cost, and returns nil. It
// returns an error when the transport cannot be used from the start, or
// ErrStuck. Everything that it started has ended then, except a handler that
// ignored the end of its context.
func (w *Worker) Run(ctx context.Context) error {
	w.started = time.Now()
	consumer, err := w.transport.Consume(ctx, driver.Subscription{
		Queues: w.opts.Queues, Weights: w.opts.Weights, Lease: w.opts.Lease, Worker: w.id,
		Suspects: w.opts.Isolated, Standing: true,
	})
	if err != nil {
		return fmt.Errorf("start worker: %w", err)
	}
	w.consumer = consumer
	taking, stop := context.WithCancelCause(ctx)
	w.stop = stop
	defer w.handlers.End(errAsked)
	if err := w.join(taking); err != nil && ctx.Err() != nil {
		reason := reasonOf(ctx) // asked to stop before it had begun
		w.reason.Store(&reason)
		stop(reason)
		w.leave() // its row may be there already
		return consumer.Close()
	} else if err != nil {
		stop(err)
		return errors.Join(fmt.Errorf("start worker: %w", err), consumer.Close())
	}
	w.opts.Joined()
	w.run(taking)
	w.leave()
	err = consumer.Close()
	if errors.Is(context.Cause(taking), ErrStuck) {
		err = errors.Join(ErrStuck, err)
	}
	return err
}

// Abort ends the handlers' contexts now. What they had in hand is given back
// at no cost. It is for an operator who asks a second time.
func (w *Worker) Abort() { w.handlers.End(driver.ErrShutdown) }

// run starts the rooms, takes messages until taking ends, and empties the
// rooms one after the other.
func (w *Worker) run(taking context.Context) {
	var slots, units, settlers, attendants sync.WaitGroup
	attending, dismiss := context.WithCancel(context.WithoutCancel(taking))
	if safety.Leases {
		attendants.Go(func() { w.keepLeases(attending) })
		attendants.Go(func() { w.watchLeases(attending) })
	}
	attendants.Go(func() { w.watchLimits(attending) })
	attendants.Go(func() { w.beat(attending) })
	attendants.Go(func() { w.maintain(attending) })
	attendants.Go(w.events.run)
	for range w.opts.Concurrency {
		slots.Go(func() { w.slot(&slots) })
	}
	for range max(w.transport.Capabilities().Lanes, 1) {
		units.Go(w.commitUnits)
	}
	settlers.Go(w.settleEnded)

	w.take(taking)
	reason := reasonOf(taking)
	w.reason.Store(&reason)
	w.opts.Log.Info("worker stops", "worker", w.id, "reason", w.StopReason(), "in_flight", w.hand.len())
	w.giveBack()
	close(w.work)
	w.drain(&slots)
	w.handlers.End(driver.ErrShutdown) // frees the stranded, which nothing else waits for
	w.limbo.Wait()
	w.units.close()
	units.Wait()
	w.ended.close()
	settlers.Wait()
	dismiss()
	w.events.close()
	attendants.Wait()
}

// reasonOf is why taking ended.
func reasonOf(taking context.Context) error {
	if cause := context.Cause(taking); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return errAsked
}

// giveBack releases what was claimed and not begun.
func (w *Worker) giveBack() {
	for {
		select {
		case p := <-w.work:
			w.finish(p, driver.ErrShutdown)
		default:
			return
		}
	}
}

// drain waits until nothing is in hand. When the drain time is over it ends the
// handlers' contexts, and a little later it gives back what did not care.
func (w *Worker) drain(slots *sync.WaitGroup) {
	idle := make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Go(func() {
		slots.Wait()
		w.hand.wait()
		close(idle)
	})
	select {
	case <-idle:
		return
	case <-w.handlers.Done():
	case <-time.After(w.opts.DrainTimeout):
		w.handlers.End(driver.ErrShutdown)
	}
	select {
	case <-idle:
	case <-time.After(abandonAfter):
		w.abandon()
	}
}

// abandon ends what handlers hold that ignore the end of their context.
func (w *Worker) abandon() {
	for _, p := range w.hand.all() {
		if !p.leave() {
			continue
		}
		w.opts.Log.Warn("handler ignores the end of its context: the worker ends without it",
			append(named(p.d), "worker", w.id)...)
		w.finishAs(p, w.abandoned(p))
	}
}
