package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/failpoint"
	"github.com/posthorn/posthorn/internal/mutant"
	"github.com/posthorn/posthorn/internal/ruling"
)

// unknownDeath is the cause of a death of which nothing is known.
const unknownDeath = "its worker died while holding it"

// ReleaseDead gives back at once what a worker holds that is known to be dead: its
// supervisor has reaped its process. See driver.Reaper.
//
// A claim whose commit was still under way when the worker died may come to stand
// after the call: another call gives it back, else its lease runs out.
func (s *Store) ReleaseDead(ctx context.Context, d driver.Death) (toll driver.Toll, err error) {
	if d.Worker == "" {
		return toll, fmt.Errorf("release dead worker: %w: it has no id", driver.ErrInvalid)
	}
	var faults faultsFound
	err = s.write(ctx, func(ctx context.Context, q Session) (err error) {
		toll, faults, err = s.reap(ctx, q, d)
		return err
	})
	if err != nil {
		return driver.Toll{}, s.explain("release dead worker", err)
	}
	s.faults.learn(faults)
	crashed := toll.Suspected + toll.Buried
	if d.Begun == nil {
		crashed += toll.Released
	}
	if crashed > 0 {
		s.opts.Meter.Crashed(crashed)
	}
	s.behind.Add(1) // what came back stands before the marks
	s.hub.wake()
	return toll, nil
}

// A hold is a message that a dead worker holds, as its row is.
type hold struct {
	seq                          int64
	token, id, kind              string
	attempt, deliveries, crashes int
	suspect                      int
	claimed                      int64
}

// claim is the token that the worker knew.
func (h hold) claim() driver.Token {
	return driver.Token(strconv.FormatInt(h.seq, 10) + "." + h.token)
}

// A reaping is one call of ReleaseDead in its transaction.
type reaping struct {
	store *Store
	q     Session
	now   int64
	death driver.Death
	build string // of the dead worker

	back, log [][]any // rows of DeadBack and LogAttempt
	cameBack  []int64 // the messages of back
	trim      []string
	bury      []hold
	toll      driver.Toll
	faults    faultsFound // of what was buried
}

// reap finds and locks what the worker holds, decides about each, and writes it.
func (s *Store) reap(ctx context.Context, q Session, d driver.Death) (toll driver.Toll, f faultsFound, err error) {
	now, err := q.Now(ctx)
	if err != nil {
		return toll, f, err
	}
	if err := s.dropOffers(ctx, q, d.Worker); err != nil {
		return toll, f, err
	}
	holds, err := s.holds(ctx, q, d)
	if err != nil {
		return toll, f, err
	}
	r := &reaping{store: s, q: q, now: now, death: d, faults: faultsFound{}}
	err = q.Query(ctx, s.SQL.Version, []any{d.Worker}, func(row Row) error { return row.Scan(&r.build) })
	if err != nil {
		return toll, f, err
	}
	r.judge(holds)
	if err := r.write(ctx); err != nil {
		return toll, f, err
	}
	if err := s.noteGroups(ctx, q, now, r.faults); err != nil {
		return toll, f, err
	}
	if err := s.cameBack(ctx, q, r.cameBack...); err != nil {
		return toll, f, err
	}
	_, err = q.Exec(ctx, s.SQL.Deregister, d.Worker)
	return r.toll, r.faults, err
}

// holds finds the messages that a worker holds, and locks them by their keys. It
// waits for a transaction of the dead worker's that the server is still ending.
func (s *Store) holds(ctx context.Context, q Session, d driver.Death) (out []hold, err error) {
	var seqs []int64
	err = q.Query(ctx, s.SQL.Holds, []any{d.Worker}, func(r Row) error {
		var seq int64
		err := r.Scan(&seq)
		seqs = append(seqs, seq)
		return err
	})
	if err != nil {
		return nil, err
	}
	of := s.SQL.HoldsOf
	if mutant.ReleasedTwice {
		seqs, of = everHeld(seqs, d), anybodyHolds(of)
	}
	slices.Sort(seqs)
	for part := range slices.Chunk(seqs, maxClaim) {
		args := []any{d.Worker}
		for _, seq := range part {
			args = append(args, seq)
		}
		stmt := of + list(len(part)) + " order by seq" + s.SQL.Lock
		err := q.Query(ctx, stmt, args, func(r Row) error {
			var h hold
			err := r.Scan(&h.seq, &h.token, &h.id, &h.kind, &h.attempt, &h.deliveries, &h.crashes, &h.suspect, &h.claimed)
			out = append(out, h)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// judge decides what becomes of each message (package ruling).
func (r *reaping) judge(holds []hold) {
	known := make([]ruling.Hold, len(holds))
	for i, h := range holds {
		known[i] = ruling.Hold{Token: h.claim(), Crashes: h.crashes, Suspect: h.suspect > 0}
	}
	for i, sentence := range ruling.OfDead(r.death, known) {
		h := holds[i]
		switch sentence {
		case ruling.Back:
			r.giveBack(h, 0, h.suspect)
			continue
		case ruling.Charged:
			r.giveBack(h, 1, h.suspect)
		case ruling.Accused:
			r.giveBack(h, 1, 1)
		case ruling.Buried:
			r.bury = append(r.bury, h)
			r.toll.Buried++
		}
		r.note(h)
	}
}

// giveBack makes a message wait again, apart if it is a suspect.
func (r *reaping) giveBack(h hold, crashes, suspect int) {
	state := stateReady
	if suspect > 0 {
		state = stateSuspect
		r.toll.Suspected++
	} else {
		r.toll.Released++
	}
	r.back = append(r.back, []any{state, r.now, crashes, suspect, h.seq, h.token})
	r.cameBack = append(r.cameBack, h.seq)
}

// cause is the death in a few words.
func (r *reaping) cause() string {
	return clip(cmp.Or(r.death.Cause, unknownDeath), driver.MaxAttemptError)
}

// note adds the crash to the message's history.
func (r *reaping) note(h hold) {
	r.log = append(r.log, []any{
		h.id, h.attempt + 1, clip(r.death.Worker, driver.MaxName), h.claimed, (r.now - h.claimed) * 1000,
		string(driver.ClassCrash), r.cause(), clip(r.death.Evidence, driver.MaxAttemptStack), r.build,
	})
	if h.deliveries > driver.MaxAttempts {
		r.trim = append(r.trim, h.id)
	}
}

// write does what was decided. Letters are kept before their messages are removed.
func (r *reaping) write(ctx context.Context) error {
	sql := r.store.SQL
	for _, part := range []struct {
		stmt string
		rows [][]any
	}{{sql.DeadBack, r.back}, {sql.LogAttempt, r.log}} {
		if len(part.rows) == 0 {
			continue
		}
		if _, err := r.q.ExecMany(ctx, part.stmt, part.rows); err != nil {
			return err
		}
		failpoint.Pass(failpoint.MidReap)
	}
	for _, id := range r.trim {
		if _, err := r.q.Exec(ctx, sql.LogTrim, id, id, driver.MaxAttempts); err != nil {
			return err
		}
	}
	for _, h := range r.bury {
		if err := r.keep(ctx, h); err != nil {
			return err
		}
	}
	return nil
}

// keep makes a dead letter of a message, with the crash that it is for.
func (r *reaping) keep(ctx context.Context, h hold) error {
	sql := r.store.SQL
	if _, err := r.q.Exec(ctx, sql.DeadCount, h.seq, h.token); err != nil {
		return err
	}
	end := endingOf(h.kind, driver.ReasonCrashed, &driver.Attempt{
		Class: driver.ClassCrash, Error: r.cause(), Build: r.build,
	})
	if _, err := r.q.Exec(ctx, sql.Letter, end.row(r.now, h.seq, h.token)...); err != nil {
		return err
	}
	r.faults.add(end)
	failpoint.Pass(failpoint.MidReapBury)
	_, err := r.q.Exec(ctx, sql.Ack, h.seq, h.token)
	return err
}
