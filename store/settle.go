package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/failpoint"
	"github.com/posthorn/posthorn/internal/mutant"
	"github.com/posthorn/posthorn/internal/ruling"
	"github.com/posthorn/posthorn/internal/safety"
)

// Settle ends claims, all in one transaction.
func (c *consumer) Settle(ctx context.Context, ss ...driver.Settlement) error {
	if len(ss) == 0 {
		return nil
	}
	done, err := c.begin()
	if err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	defer done()
	w, others, err := split(ss)
	if err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	var (
		lost   []driver.Delivery
		faults faultsFound
	)
	if len(others) > 0 {
		w.Func = func(ctx context.Context, q Session) (err error) {
			faults = faultsFound{}
			lost, err = c.settleEach(ctx, q, others, faults)
			return err
		}
	}
	failpoint.Pass(failpoint.BeforeSettle)
	if err := c.store.Engine.Write(ctx, w); err != nil {
		return c.store.explain("settle", err)
	}
	c.store.faults.learn(faults)
	failpoint.Pass(failpoint.AfterSettle)
	if len(others) > 0 {
		c.store.behind.Add(1)
		c.store.hub.wake() // it may be due at once
	}
	if lost = append(lost, lostOf(ss, w.Lost)...); len(lost) > 0 {
		c.takeBack(ctx, lost)
		return &driver.LeaseLostError{Lost: lost}
	}
	return nil
}

// split makes a write of the acknowledgements, since they are most of the work,
// and returns the other settlements.
func split(ss []driver.Settlement) (w *Write, others []driver.Settlement, err error) {
	w = &Write{Ack: make([]Claim, 0, len(ss))}
	for i := range ss {
		s := &ss[i]
		if s.Verdict != driver.Ack {
			others = append(others, *s)
			continue
		}
		claim, err := claimOf(&s.Delivery)
		if err != nil {
			return nil, nil, err
		}
		w.Ack = append(w.Ack, claim)
	}
	return w, others, nil
}

// claimOf is what a delivery holds.
func claimOf(d *driver.Delivery) (Claim, error) {
	seq, token, err := splitToken(d.Token)
	return Claim{Seq: seq, Token: token, ID: d.ID, History: safety.History && d.Deliveries > 1}, err
}

// lostOf are the deliveries of the acknowledgements whose claims are named.
func lostOf(ss []driver.Settlement, claims []Claim) (out []driver.Delivery) {
	for i := range ss {
		if len(claims) == 0 {
			return out
		}
		if ss[i].Verdict != driver.Ack {
			continue
		}
		c, _ := claimOf(&ss[i].Delivery)
		if at := slices.Index(claims, c); at >= 0 {
			out, claims = append(out, ss[i].Delivery), slices.Delete(claims, at, at+1)
		}
	}
	return out
}

// settling is a batch of settlements in one transaction.
type settling struct {
	store    *Store
	q        Session
	now      int64
	suspects bool        // what is settled are suspects
	faults   faultsFound // of what was buried
	began    time.Time   // when now was asked for
	ready    []int64     // what was given back and waits for nothing
}

// settleEach settles one by one, and returns those whose claim was lost.
func (c *consumer) settleEach(
	ctx context.Context, q Session, ss []driver.Settlement, faults faultsFound,
) (lost []driver.Delivery, err error) {
	b := &settling{store: c.store, q: q, suspects: c.sub.Suspects, faults: faults, began: time.Now()}
	if b.now, err = q.Now(ctx); err != nil {
		return nil, err
	}
	for _, s := range ss {
		done, err := b.one(ctx, s)
		if err != nil {
			return nil, err
		}
		if !done {
			lost = append(lost, s.Delivery)
		}
	}
	if time.Since(b.began) > lineSlack/2*time.Millisecond {
		if err := c.store.cameBack(ctx, q, b.ready...); err != nil {
			return nil, err
		}
	}
	return lost, c.store.noteGroups(ctx, q, b.now, faults)
}

// one settles anything but an acknowledgement. It reports whether the claim
// still stood.
func (b *settling) one(ctx context.Context, s driver.Settlement) (bool, error) {
	seq, claim, err := splitToken(s.Delivery.Token)
	if err != nil {
		return false, err
	}
	var n int64
	switch s.Verdict {
	case driver.Bury, driver.Retry:
		if mutant.BuryInTwo && s.Verdict == driver.Bury || mutant.RetryInTwo && s.Verdict == driver.Retry {
			return b.inTwo(ctx, s)
		}
	}
	switch s.Verdict {
	case driver.Bury:
		n, err = b.bury(ctx, s, seq, claim)
	case driver.Retry:
		n, err = b.postpone(ctx, s, seq, claim)
		failpoint.Pass(failpoint.MidRetry)
	case driver.Release:
		n, err = b.postpone(ctx, s, seq, claim)
		failpoint.Pass(failpoint.MidRelease)
	default:
		err = fmt.Errorf("%w: verdict %d", driver.ErrInvalid, s.Verdict)
	}
	if err != nil || n == 0 {
		return false, err
	}
	return true, b.log(ctx, s)
}

// bury keeps the letter first and removes the message then. The message is
// locked before, so that nobody can claim it in between: its lease may be over.
func (b *settling) bury(ctx context.Context, s driver.Settlement, seq int64, claim string) (int64, error) {
	if held, err := b.store.held(ctx, b.q, seq, claim); err != nil || !held {
		return 0, err
	}
	end := endingOf(s.Delivery.Kind, s.Reason, s.Attempt)
	n, err := b.q.Exec(ctx, b.store.SQL.Letter, end.row(b.now, seq, claim)...)
	if err != nil || n == 0 {
		return n, err
	}
	b.faults.add(end)
	failpoint.Pass(failpoint.MidBury)
	return b.q.Exec(ctx, b.store.SQL.Ack, seq, claim)
}

// held locks the message of a claim, and reports whether the claim stands. It
// waits for a transaction that may be about to end it.
func (s *Store) held(ctx context.Context, q Session, seq int64, claim string) (held bool, err error) {
	if s.SQL.Held == "" { // there is one writer at a time
		return true, nil
	}
	err = q.Query(ctx, s.SQL.Held, []any{seq, claim}, func(Row) error { held = true; return nil })
	return held, err
}

// postpone gives the message back, due now or later. A suspect is none any more,
// unless it is given back with no word about its handler: then it has not run.
func (b *settling) postpone(ctx context.Context, s driver.Settlement, seq int64, claim string) (int64, error) {
	if s.Queue != "" {
		if err := driver.CheckQueue(s.Queue); err != nil {
			return 0, err
		}
	}
	counted := 0
	if s.Verdict == driver.Retry {
		counted = 1
	}
	if b.suspects && ruling.StaysSuspect(s) {
		n, err := b.q.Exec(ctx, b.store.SQL.SuspectBack, b.now, seq, claim)
		if err != nil || n > 0 {
			return n, err
		}
	}
	due, state := b.now, stateReady
	if s.Delay > 0 {
		due, state = b.now+ceilMillis(s.Delay), stateLater
	} else {
		b.ready = append(b.ready, seq)
	}
	acquitted := 0
	if ruling.Acquits(s) {
		acquitted = 1
	}
	return b.q.Exec(ctx, b.store.SQL.Postpone, state, due, due, counted, s.Queue, acquitted, seq, claim)
}

// log adds to the message's history.
func (b *settling) log(ctx context.Context, s driver.Settlement) error {
	a := s.Attempt
	if a == nil || !safety.History {
		return nil
	}
	_, err := b.q.Exec(ctx, b.store.SQL.LogAttempt, s.Delivery.ID, a.Number, a.Worker, a.Started.UnixMilli(),
		a.Duration.Microseconds(), clip(string(a.Class), maxWord), clip(a.Error, driver.MaxAttemptError),
		clip(a.Stack, driver.MaxAttemptStack), clip(a.Build, driver.MaxName))
	if err != nil || s.Delivery.Deliveries <= driver.MaxAttempts {
		return err
	}
	_, err = b.q.Exec(ctx, b.store.SQL.LogTrim, s.Delivery.ID, s.Delivery.ID, driver.MaxAttempts)
	return err
}

// maxWord bounds a class or a reason, which an application may choose.
const maxWord = 64

// clip makes a text one that every database takes, and bounds it in bytes
// without breaking a character.
func clip(s string, limit int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
