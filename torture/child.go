package torture

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/flight"
	"github.com/posthorn/posthorn/internal/tap"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/torture/oracle"
	"github.com/posthorn/posthorn/worker"
)

// The settings of the workers of a run.
const (
	lease       = 2 * time.Second
	maxCrashes  = 5 // by leases that run out; a supervisor tells of driver.SuspectDeaths
	stuckLimit  = 2 * time.Second
	drain       = 3 * time.Second // a worker whose handler hangs takes nothing meanwhile
	recordSlots = 64
	tickEvery   = 20 * time.Millisecond
	openWithin  = time.Minute
)

// Opener opens a store; open.Store is one.
type Opener func(ctx context.Context, dsn string, o store.Options) (*store.Store, error)

// A job is what a process of a run is to do. It comes by its stdin, because it
// has the store's address, which may have a password. The end of stdin is the end
// of who started it, and so its own.
type job struct {
	Role    role              `json:"role"`
	Name    string            `json:"name"`
	DSN     string            `json:"dsn"`
	Session map[string]string `json:"session,omitempty"`
	Seed    uint64            `json:"seed"`
	Ledger  string            `json:"ledger,omitempty"`  // of a producer or operator: the file
	Count   int               `json:"count,omitempty"`   // of a producer: messages to send; 0 means without end
	Without []oracle.Fate     `json:"without,omitempty"` // of a producer: fates that it does not send
	Limit   int               `json:"limit,omitempty"`   // of a worker: messages until it ends
	Flight  string            `json:"flight,omitempty"`  // of a worker: the file of its flight record
	Away    string            `json:"away,omitempty"`    // of a worker: the file that says that a partner is away

	Isolated   bool `json:"isolated,omitempty"`   // a worker that runs suspects, one at a time
	Supervised bool `json:"supervised,omitempty"` // a worker that its supervisor has started
}

// A role is what a process is.
type role string

// The roles.
const (
	roleWorker     role = "worker"
	roleProducer   role = "producer"
	roleOperator   role = "operator"
	roleSupervisor role = "supervisor"
)

// An event is a line on a process's stdout. A supervisor passes on those of its workers.
type event struct {
	Of      string         `json:"of,omitempty"`      // the name of the supervised worker that it is about
	PID     int            `json:"pid,omitempty"`     // of a supervised worker
	Ready   string         `json:"ready,omitempty"`   // it works; the id of the worker
	Done    int            `json:"done,omitempty"`    // so many more messages are done
	Lost    int            `json:"lost,omitempty"`    // so many more commits were refused: the lease was lost
	Sent    int            `json:"sent,omitempty"`    // so many more messages were tried to be sent
	Charge  *oracle.Charge `json:"charge,omitempty"`  // a handler starts with attempts that are not its own
	Rush    *oracle.Rush   `json:"rush,omitempty"`    // a handler starts before its time
	Away    int            `json:"away,omitempty"`    // a handler fails since its partner is away
	Death   string         `json:"death,omitempty"`   // this message ends the process now
	Counted bool           `json:"counted,omitempty"` // the death is one of a poisonous message
	End     string         `json:"end,omitempty"`     // its last word: why it ends
	Bad     bool           `json:"bad,omitempty"`     // it ends by an error
	Gone    string         `json:"gone,omitempty"`    // of a supervised worker: its process ended in this way
}

// A voice writes events, one line each and at once.
type voice struct {
	mu sync.Mutex
	to io.Writer
	of string // who speaks, if it is supervised
}

func (v *voice) say(e event) {
	if e.Of == "" {
		e.Of = v.of
	}
	text, err := json.Marshal(e)
	if err != nil { // an event always has an encoding
		panic(err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	_, _ = v.to.Write(append(text, '\n')) // a parent that is gone ends this process by its stdin
}

// A Process is a process of a run. It reads its job from In and says on Out what
// happens.
type Process struct {
	Open    Opener
	In      io.Reader
	Out     io.Writer
	Log     io.Writer // of the worker
	Command []string  // starts such a process, for those that a supervisor starts
	Environ []string  // of those

	job   job
	voice *voice
	log   *slog.Logger
}

// Run does the job until it is done, ctx ends, or the process that started this one is
// gone.
func (p Process) Run(ctx context.Context) error {
	r := bufio.NewReader(p.In)
	text, err := r.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(text, &p.job)
	}
	if err != nil {
		return fmt.Errorf("read job: %w", err)
	}
	p.voice = &voice{to: p.Out}
	if p.job.Supervised {
		p.job = p.job.ofChild(os.Getpid())
		p.voice.of = p.job.Name
		signal.Ignore(syscall.SIGPIPE) // what ends it with its supervisor is to be no accident
	}
	p.log = slog.New(slog.NewTextHandler(tap.Writer(tap.Line, p.Log), &slog.HandlerOptions{Level: slog.LevelWarn}))
	var listening sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !p.job.Supervised { // its stdin is a file, and the kernel ends it with its supervisor
		listening.Go(func() {
			_, _ = io.Copy(io.Discard, r)
			cancel()
		})
	}
	why, err := p.play(ctx)
	if err != nil {
		why = err.Error()
	}
	// A worker that starts while its store is away ends, and is started again. One that is
	// told to end while it opens the store says so in its own way.
	good := err == nil || errors.Is(err, driver.ErrUnavailable) || errors.Is(err, context.Canceled) && ctx.Err() != nil
	p.voice.say(event{End: why, Bad: !good})
	listening.Wait() // who started it answers its last word by the end of stdin
	return err
}

// play does the job, and returns why it came to its end.
func (p Process) play(ctx context.Context) (why string, err error) {
	if p.job.Role == roleSupervisor {
		return p.supervise(ctx)
	}
	s, err := p.openPatiently(ctx)
	if err != nil {
		return "", err
	}
	switch p.job.Role {
	case roleProducer:
		why, err = "done", produce(ctx, p.job, s, p.voice)
	case roleOperator:
		why, err = "told to end", p.operate(ctx, s)
	default:
		why, err = p.work(ctx, s)
	}
	return why, errors.Join(err, s.Close())
}

// openPatiently waits for a store that is away.
func (p Process) openPatiently(ctx context.Context) (*store.Store, error) {
	o := store.Options{Log: p.log, Server: store.ServerOptions{Session: p.job.Session}}
	for deadline := time.Now().Add(openWithin); ; wait(ctx, 100*time.Millisecond) {
		s, err := p.Open(ctx, p.job.DSN, o)
		if err == nil || ctx.Err() != nil || !errors.Is(err, driver.ErrUnavailable) || time.Now().After(deadline) {
			return s, err
		}
	}
}

// work runs a worker.
func (p Process) work(ctx context.Context, s *store.Store) (why string, err error) {
	c := &cast{
		words: speak(s.Dialect()), say: p.voice.say, rebind: s.Rebind, db: s.DB(), history: s.Names.Table("attempt"),
		away: p.job.Away,
	}
	var t tally
	rec, err := flight.Create(p.job.Flight, recordSlots)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rec.Close()) }()
	w, err := worker.New(s, c.mux(), worker.Options{
		Queues: []string{queue}, Lease: lease, Heartbeat: time.Second, DrainTimeout: drain, Retry: policy(2),
		MaxCrashes: maxCrashes, StuckLimit: stuckLimit, Program: "torture", Log: p.log,
		Limits: worker.Limits{Messages: p.job.Limit, Jitter: 0.3}, Observe: t.observe,
		Recorder: rec, Isolated: p.job.Isolated,
	})
	if err != nil {
		return "", err
	}
	if !p.job.Supervised { // a supervised worker leaves operations to others
		defer p.execute(ctx, s)()
	}
	p.voice.say(event{Ready: w.ID(), PID: os.Getpid()})
	var ticking sync.WaitGroup
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ticking.Go(func() { t.tell(running, p.voice) })
	err = w.Run(ctx)
	stop()
	ticking.Wait()
	if errors.Is(err, worker.ErrStuck) { // as it has to, when a handler hangs
		err = nil
	}
	return w.StopReason(), err
}

// A tally counts how attempts ended, and tells it at times.
type tally struct {
	mu         sync.Mutex
	done, lost int
}

func (t *tally) observe(e worker.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case e.Stuck:
	case e.Class == driver.ClassDone:
		t.done++
	case e.Class == driver.ClassLeaseLost:
		t.lost++
	}
}

func (t *tally) tell(ctx context.Context, v *voice) {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		if e := t.take(); e != (event{}) {
			v.say(e)
		}
	}
}

func (t *tally) take() event {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := event{Done: t.done, Lost: t.lost}
	t.done, t.lost = 0, 0
	return e
}
