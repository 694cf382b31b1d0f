package failure_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/worker"
)

func TestOperationsBackOffByHalvesAndRecoverByStepsAndNeverStarve(t *testing.T) {
	p := failure.NewPacing()
	least, yields := p.Share()
	if least <= 0 || least > 0.1 || yields != "" {
		t.Fatalf("it begins with %v, %q", least, yields)
	}
	looks := 0
	for share := least; share < 1; looks++ {
		p.Hear("")
		if now, _ := p.Share(); now <= share {
			t.Fatalf("after a calm look it is %v, and was %v", now, share)
		} else {
			share = now
		}
	}
	if p.Each(3) != 1 {
		t.Errorf("where nobody waits each of three has %v", p.Each(3))
	}
	for range 2 * looks {
		was, _ := p.Share()
		p.Hear("busy")
		if now, queue := p.Share(); now > max(was/2, least) || now < least || queue != "busy" {
			t.Fatalf("when others wait it is %v for %q, and was %v", now, queue, was)
		}
	}
	if each := p.Each(2); each != least/2 {
		t.Errorf("each of two has %v", each)
	}
	for share := least; share < 1; share, yields = p.Share() {
		if _, queue := p.Share(); queue != "busy" {
			t.Fatalf("it has forgotten why it is slow at %v", share)
		}
		p.Hear("")
	}
	if yields != "" {
		t.Errorf("it is at full speed, for the sake of %q", yields)
	}
}

// A shop handles what an operation puts back, one burst after the other.
type shop struct {
	*failure.Pacing
	took    time.Duration // for a step
	handles time.Duration // for what a step puts back
	left    time.Duration // until all is handled
	inHand  time.Duration // time in which letters were in hand
	passed  time.Duration
	turns   int // steps in which letters had their turn
}

// step takes a step, and then the rest.
func (s *shop) step() {
	a := store.Advance{}
	moves := s.Begin()
	s.pass(s.took)
	if moves {
		s.turns++
		s.left += s.handles
		a.Moved = 200
	}
	if s.left > 0 {
		a.Operation.Flying = 1
		if !moves {
			a.InHand = 1
		}
	}
	s.End(s.took, a)
	s.pass(s.Rest())
}

func (s *shop) pass(d time.Duration) {
	s.passed += d
	s.inHand += min(d, s.left)
	s.left -= min(d, s.left)
}

// Whatever a letter takes, and whatever it takes it of: letters are in hand for no more
// than the share, and for not much less.
func TestLettersAreInHandForTheirShareOfTheTimeWhileOthersWait(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &shop{
			Pacing:  failure.NewPacing(),
			took:    time.Duration(rapid.IntRange(1, 50).Draw(t, "step in ms")) * time.Millisecond,
			handles: time.Duration(rapid.IntRange(1, 400).Draw(t, "handling in ms")) * time.Millisecond,
		}
		s.Hear("busy")
		least, _ := s.Share()
		for s.passed < 20*time.Minute {
			s.step()
		}
		// The last burst has not had its rest yet.
		if part := float64(s.inHand) / float64(s.passed); part > 1.02*least {
			t.Errorf("letters are in hand for %.3f of the time", part)
		}
		if part := float64(max(s.inHand, time.Duration(s.turns)*s.took)) / float64(s.passed); part < 0.4*least {
			t.Errorf("it takes %.3f of the time, in %d turns", part, s.turns)
		}
	})
}

// Each time that some are written down is a turn: else the burst would never be over.
func TestWritingLettersDownKeepsToTheShareAndGoesOn(t *testing.T) {
	p := failure.NewPacing()
	p.Hear("busy")
	least, _ := p.Share()
	var passed, wrote time.Duration
	turns := 0
	for passed < 20*time.Minute {
		took := time.Millisecond
		if p.Begin() {
			took = 50 * time.Millisecond
			wrote += took
			turns++
		}
		p.End(took, store.Advance{Operation: store.Operation{State: store.OperationFreezing}, More: true})
		passed += took + p.Rest()
	}
	if part := float64(wrote) / float64(passed); part > 1.02*least || part < 0.8*least {
		t.Errorf("letters are written down for %.3f of the time, in %d turns", part, turns)
	}
}

func TestAHandlerThatDoesNotEndKeepsNoOperationFromGoingOn(t *testing.T) {
	s := &shop{Pacing: failure.NewPacing(), took: time.Millisecond, handles: 24 * time.Hour}
	s.Hear("busy")
	for s.passed < time.Hour {
		s.step()
	}
	if s.turns < 60 {
		t.Errorf("there were %d turns in an hour", s.turns)
	}
}

func TestLettersThatWaitForAWorkerOrTheirNextAttemptCostNoRest(t *testing.T) {
	p := failure.NewPacing()
	p.Hear("busy")
	waiting := store.Advance{Operation: store.Operation{Flying: 200}}
	for turn := range 5 {
		if !p.Begin() {
			t.Fatalf("turn %d is kept waiting", turn)
		}
		p.End(time.Millisecond, waiting)
		p.Pass(150 * time.Millisecond) // a burst is over
	}
	if rest := p.Rest(); rest != 0 {
		t.Errorf("it rests for %v, and has taken nothing from anybody", rest)
	}
}

// A counter is a queue whose worker, for one message at a time, waits until free is closed.
type counter struct {
	queue string
	free  chan struct{}
	count atomic.Int64
}

// open runs the worker.
func (c *counter) open(t *testing.T, s *store.Store) (stop func()) {
	t.Helper()
	mux := posthorn.NewMux()
	posthorn.Handle(mux, func(ctx context.Context, _ parcel) error {
		select {
		case <-c.free:
			c.count.Add(1)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	w, err := worker.New(s, mux, worker.Options{Queues: []string{c.queue}, Concurrency: 1})
	try(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// mourned makes dead letters in the queue "q".
func mourned(t *testing.T, s *store.Store, n int) {
	t.Helper()
	dispatch(t, s, "q", n)
	c, err := s.Consume(t.Context(), driver.Subscription{Queues: []string{"q"}, Lease: time.Minute, Worker: "w"})
	try(t, err)
	defer func() { _ = c.Close() }()
	for n > 0 {
		ds, err := c.Receive(t.Context(), n)
		try(t, err)
		for _, d := range ds {
			try(t, c.Settle(t.Context(), driver.Settlement{Delivery: d, Verdict: driver.Bury, Reason: driver.ReasonRejected}))
		}
		n -= len(ds)
	}
}

func dispatch(t *testing.T, s *store.Store, queue string, n int) {
	t.Helper()
	d, err := posthorn.NewDispatcher(s, posthorn.DispatcherOptions{Queue: queue})
	try(t, err)
	ms := make([]posthorn.Message, n)
	for i := range ms {
		ms[i] = parcel{N: i}
	}
	_, err = d.DispatchMany(t.Context(), ms)
	try(t, err)
}

// until waits for something to be true of an operation.
func until(t *testing.T, s *store.Store, id string, so func(store.Operation) bool) (o store.Operation) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var err error
		o, err = s.Operation(t.Context(), id)
		if try(t, err); so(o) {
			return o
		}
	}
	t.Fatalf("it is %+v", o)
	return o
}

// While messages of another queue wait for its worker, an operation gives way to it and
// says so, and goes on all the same. When they wait no more it is at full speed again.
func TestAnOperationGivesWayToMessagesThatWaitAndGoesOn(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		const letters, crowd = 400, 3000 // a crowd is more than a worker claims ahead
		mourned(t, s, letters)
		own := &counter{queue: "q", free: make(chan struct{})}
		others := &counter{queue: "busy", free: make(chan struct{})}
		close(own.free)
		defer own.open(t, s)()
		defer others.open(t, s)()
		dispatch(t, s, "busy", crowd)
		e := failure.NewExecutor(s, failure.ExecutorOptions{Name: "e", Poll: 10 * time.Millisecond, Lease: time.Second})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		defer func() { cancel(); <-ended }()
		o, err := s.StartOperation(t.Context(), store.Operation{Action: store.ActionRetry, Canary: true, Rate: 20})
		try(t, err)
		const some = 30 // more than canaries
		o = until(t, s, o.ID, func(o store.Operation) bool { return o.Yields != "" && o.Done >= some })
		if o.Yields != "busy" || own.count.Load() < int64(o.Done) {
			t.Errorf("it gave way to %q, and of %d that are done %d were handled", o.Yields, o.Done, own.count.Load())
		}
		close(others.free)
		o = until(t, s, o.ID, func(o store.Operation) bool { return o.Yields == "" })
		if o.State != store.OperationRunning || o.Left() == 0 || others.count.Load() == 0 {
			t.Errorf("it gave way to the end, or until others were handled, which %d are: %+v", others.count.Load(), o)
		}
		if _, err := s.CancelOperation(t.Context(), o.ID, "seen enough"); err != nil {
			t.Error(err)
		}
	})
}

// An operator can see that operations do not know whether others wait, and is not told
// again at each look.
func TestThatNobodyCanSeeWhetherOthersWaitIsSaidOnce(t *testing.T) {
	s := open(t, "SQLite", store.Options{})
	s.SQL.Waiting = "this is no statement"
	mourned(t, s, 20)
	own := &counter{queue: "q", free: make(chan struct{})}
	close(own.free)
	defer own.open(t, s)()
	var log bytes.Buffer
	e := failure.NewExecutor(s, failure.ExecutorOptions{
		Name: "e", Poll: 10 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	o, err := s.StartOperation(t.Context(), store.Operation{Action: store.ActionRetry, Rate: 10})
	try(t, err)
	until(t, s, o.ID, func(o store.Operation) bool { return o.Done > 15 }) // at this rate there are several looks
	cancel()
	try(t, <-ended)
	if n := strings.Count(log.String(), "cannot see whether others wait"); n != 1 {
		t.Errorf("it is said %d times:\n%s", n, log.String())
	}
}
