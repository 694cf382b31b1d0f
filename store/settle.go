package store

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/posthorn/posthorn/driver"
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
	var lost []driver.Delivery
	err = c.store.Engine.Write(ctx, func(ctx context.Context, q Session) error {
		b := &settling{store: c.store, q: q}
		err := b.all(ctx, ss)
		lost = b.lost
		return err
	})
	if err != nil {
		return c.store.explain("settle", err)
	}
	for _, s := range ss {
		if s.Verdict != driver.Ack {
			c.store.hub.wake() // it may be due at once
			break
		}
	}
	if len(lost) > 0 {
		return &driver.LeaseLostError{Lost: lost}
	}
	return nil
}

// settling is a batch of settlements in one transaction.
type settling struct {
	store *Store
	q     Session
	now   int64
	lost  []driver.Delivery
}

// all settles the acknowledgements together, since they are most of the work,
// and the others one by one.
func (b *settling) all(ctx context.Context, ss []driver.Settlement) (err error) {
	if b.now, err = b.q.Now(ctx); err != nil {
		return err
	}
	acks := make([]driver.Delivery, 0, len(ss))
	for _, s := range ss {
		if s.Verdict == driver.Ack {
			acks = append(acks, s.Delivery)
			continue
		}
		done, err := b.one(ctx, s)
		if err != nil {
			return err
		}
		if !done {
			b.lost = append(b.lost, s.Delivery)
		}
	}
	return b.ack(ctx, acks)
}

// ack removes messages that are done, and the history of those that had one.
func (b *settling) ack(ctx context.Context, ds []driver.Delivery) error {
	if len(ds) == 0 {
		return nil
	}
	rows := make([][]any, len(ds))
	for i, d := range ds {
		seq, claim, err := splitToken(d.Token)
		if err != nil {
			return err
		}
		rows[i] = []any{seq, claim}
	}
	touched, err := b.q.ExecMany(ctx, b.store.SQL.Ack, rows)
	if err != nil {
		return err
	}
	b.lost = append(b.lost, untouched(ds, touched)...)
	for i, d := range ds {
		if touched[i] == 0 || d.Deliveries <= 1 {
			continue
		}
		if _, err := b.q.Exec(ctx, b.store.SQL.DropLog, d.ID); err != nil {
			return err
		}
	}
	return nil
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
	case driver.Bury:
		n, err = b.bury(ctx, s, seq, claim)
	case driver.Retry, driver.Release:
		n, err = b.postpone(ctx, s, seq, claim)
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
	var class, text string
	if s.Attempt != nil {
		class, text = clip(string(s.Attempt.Class), maxWord), clip(s.Attempt.Error, driver.MaxAttemptError)
	}
	if held, err := b.store.held(ctx, b.q, seq, claim); err != nil || !held {
		return 0, err
	}
	n, err := b.q.Exec(ctx, b.store.SQL.Letter, b.now, clip(s.Reason, maxWord), class, text, seq, claim)
	if err != nil || n == 0 {
		return n, err
	}
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

// postpone gives the message back, due now or later.
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
	due, state := b.now, stateReady
	if s.Delay > 0 {
		due, state = b.now+ceilMillis(s.Delay), stateLater
	}
	return b.q.Exec(ctx, b.store.SQL.Postpone, state, due, due, counted, s.Queue, seq, claim)
}

// log adds to the message's history.
func (b *settling) log(ctx context.Context, s driver.Settlement) error {
	a := s.Attempt
	if a == nil {
		return nil
	}
	_, err := b.q.Exec(ctx, b.store.SQL.LogAttempt, s.Delivery.ID, a.Number, a.Worker, a.Started.UnixMilli(),
		a.Duration.Microseconds(), clip(string(a.Class), maxWord), clip(a.Error, driver.MaxAttemptError),
		clip(a.Stack, driver.MaxAttemptStack))
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
