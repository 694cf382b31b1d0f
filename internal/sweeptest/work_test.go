package sweeptest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
)

// The size of the work. A message's fate is its number modulo fates.
const (
	messages = 8
	fates    = 4
	rounds   = 40 // after which the work gives up
)

// The fates.
const (
	fateDone = iota
	fateRetry
	fateRelease
	fateBury
)

// A work moves messages in all the ways that there are, and says what it was told. It
// writes from one thread, so that the N-th write is the same one in each run.
type work struct {
	store    *store.Store
	consumer driver.Consumer
	stop     bool // at the first error, as if the process had died
}

// errStopped: the work stopped at an error, as it was told.
var errStopped = errors.New("stopped at an error")

// run sends the messages from first on, and handles all.
func run(dsn string, first int, stop bool) (err error) {
	runtime.LockOSThread()
	ctx := context.Background()
	w := &work{stop: stop}
	if w.store, err = open.Store(ctx, dsn, store.Options{}); err != nil {
		return err
	}
	if _, err := w.store.DB().ExecContext(ctx, "create table if not exists effect (n integer)"); err != nil {
		return err
	}
	for n := first; n < messages; n++ {
		if err := w.send(ctx, n); err != nil {
			return err
		}
	}
	w.consumer, err = w.store.Consume(ctx, driver.Subscription{
		Queues: []string{"work"}, Lease: time.Minute, Worker: "worker",
	})
	if err != nil {
		return err
	}
	for range 2 { // what is dead is put back once
		if err := w.drain(ctx); err != nil {
			return err
		}
		if err := w.putBack(ctx); err != nil {
			return err
		}
	}
	if err := w.drain(ctx); err != nil {
		return err
	}
	return errors.Join(w.consumer.Close(), w.store.Close())
}

// send says before and after what becomes of a message.
func (w *work) send(ctx context.Context, n int) error {
	fmt.Println("try", n)
	e := driver.Envelope{ID: strconv.Itoa(n), Kind: "work", Queue: "work", Body: []byte("body")}
	err := w.store.Send(ctx, e)
	switch {
	case err == nil:
		fmt.Println("ok", n)
	case errors.Is(err, driver.ErrOutcomeUnknown):
		fmt.Println("unknown", n)
	default:
		fmt.Println("fail", n)
	}
	return w.meet(err)
}

// meet goes on after an error, or stops.
func (w *work) meet(err error) error {
	if err != nil && w.stop {
		return fmt.Errorf("%w: %w", errStopped, err)
	}
	return nil
}

// drain handles messages until none is left. What somebody else held is given back.
func (w *work) drain(ctx context.Context) error {
	for range rounds {
		ready, held, err := w.left(ctx)
		switch {
		case err == nil && ready+held == 0:
			return nil
		case err == nil && ready == 0:
			_, err = w.store.ReleaseDead(ctx, driver.Death{Worker: "worker"})
		case err == nil:
			err = w.round(ctx)
		}
		if err := w.meet(err); err != nil {
			return err
		}
	}
	return errors.New("messages are left that nobody could handle")
}

func (w *work) left(ctx context.Context) (ready, held int64, err error) {
	stats, err := w.store.Stats(ctx)
	for _, q := range stats {
		ready, held = ready+q.Ready+q.Delayed, held+q.InFlight
	}
	return ready, held, err
}

// round handles a few messages.
func (w *work) round(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	ds, err := w.consumer.Receive(ctx, 3)
	if err != nil {
		return err
	}
	if err := w.consumer.Extend(ctx, ds...); err != nil {
		return err
	}
	var units []driver.Unit
	var others []driver.Settlement
	for _, d := range ds {
		s := driver.Settlement{Delivery: d, Verdict: verdict(d), Reason: driver.ReasonRejected}
		if s.Verdict == driver.Ack {
			units = append(units, driver.Unit{Delivery: d, Context: ctx, Effect: effect(d.ID)})
			continue
		}
		if s.Verdict != driver.Release {
			s.Attempt = &driver.Attempt{Number: d.Attempt + 1, Worker: "worker", Started: time.Now(), Error: "planned"}
		}
		others = append(others, s)
	}
	for i, err := range w.store.Transact(ctx, units) {
		if err != nil {
			return err
		}
		fmt.Println("done", units[i].Delivery.ID)
	}
	return w.consumer.Settle(ctx, others...)
}

// verdict is what a message's fate asks for.
func verdict(d driver.Delivery) driver.Verdict {
	n, _ := strconv.Atoi(d.ID)
	switch {
	case n%fates == fateBury:
		return driver.Bury
	case n%fates == fateRetry && d.Attempt == 0:
		return driver.Retry
	case n%fates == fateRelease && d.Deliveries == 1:
		return driver.Release
	}
	return driver.Ack
}

func effect(id string) func(context.Context, driver.Tx) error {
	return func(ctx context.Context, tx driver.Tx) error {
		_, err := tx.ExecContext(ctx, "insert into effect values (?)", id)
		return err
	}
}

// putBack retries the dead letters.
func (w *work) putBack(ctx context.Context) error {
	ls, err := w.store.Letters(ctx, store.LetterFilter{})
	seqs := make([]int64, len(ls))
	for i, l := range ls {
		seqs[i] = l.Seq
	}
	if err == nil {
		_, err = w.store.RetryLetters(ctx, seqs...)
	}
	return w.meet(err)
}

// A ledger is what was said of each message: the last word of it, or that it was refused.
type ledger map[int]string

// read reads what a work has said.
func (l ledger) read(said string) {
	for line := range strings.Lines(said) {
		var word string
		var n int
		_, err := fmt.Sscanf(line, "%s %d", &word, &n)
		if err == nil && l[n] != "fail" { // what was refused must not be done later
			l[n] = word
		}
	}
}
