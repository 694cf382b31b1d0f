package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// A Pause keeps messages of a queue from being claimed. What is in flight is
// finished, and messages are accepted as ever.
type Pause struct {
	Queue  string
	Reason string    // for people; at most MaxPauseText bytes, as is Actor
	Actor  string    // who paused it
	Since  time.Time // by the store's clock
	Until  time.Time // when it ends by itself, by the store's clock; zero: never
	// For lets it end so long from now, by the store's clock. It wins over Until, and
	// is zero in what is read.
	For time.Duration
}

// MaxPauseText bounds a pause's reason and its actor in bytes.
const MaxPauseText = 1000

// Pause pauses a queue, on every host, and returns what is in force now; a pause
// that there was is replaced. Consumers claim nothing more from the queue at the
// latest a second after. Errors: driver.ErrInvalid, ErrTooLarge, ErrUnavailable.
func (s *Store) Pause(ctx context.Context, p Pause) (Pause, error) {
	if err := p.check(); err != nil {
		return Pause{}, fmt.Errorf("pause queue: %w", err)
	}
	p.Reason, p.Actor = clip(p.Reason, MaxPauseText), clip(p.Actor, MaxPauseText)
	err := s.write(ctx, func(ctx context.Context, q Session) error {
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		var until sql.NullInt64
		switch {
		case p.For > 0:
			until = sql.NullInt64{Int64: now + ceilMillis(p.For), Valid: true}
		case !p.Until.IsZero():
			until = sql.NullInt64{Int64: p.Until.UnixMilli(), Valid: true}
		}
		if until.Valid && until.Int64 <= now {
			return fmt.Errorf("%w: the pause would be over already", driver.ErrInvalid)
		}
		was, err := s.pauseOf(ctx, q, p.Queue)
		if err != nil {
			return err
		}
		if _, err = q.Exec(ctx, s.SQL.Pause, p.Queue, p.Reason, p.Actor, now, until); err != nil {
			return err
		}
		p.Since, p.Until = fromMillis(now), fromMillis(until.Int64)
		return s.audit(ctx, q, Act{
			Actor: p.Actor, Verb: VerbPauseQueue, Subject: p.Queue, Count: 1, Was: was, Became: p.end(), Reason: p.Reason,
		})
	})
	if err != nil {
		return Pause{}, s.explain("pause queue", err)
	}
	s.pauses.changed()
	s.hub.wake()
	p.For = 0
	return p, nil
}

func (p Pause) check() error {
	if err := driver.CheckQueue(p.Queue); err != nil {
		return err
	}
	switch {
	case p.For < 0:
		return fmt.Errorf("%w: a pause of %s", driver.ErrInvalid, p.For)
	case len(p.Reason) > MaxPauseText, len(p.Actor) > MaxPauseText:
		return fmt.Errorf("%w: reason and actor have at most %d bytes", driver.ErrTooLarge, MaxPauseText)
	}
	return nil
}

// Resume ends a pause. It reports whether there was one.
func (s *Store) Resume(ctx context.Context, queue string) (was bool, err error) {
	err = s.write(ctx, func(ctx context.Context, q Session) error {
		before, err := s.pauseOf(ctx, q, queue)
		if err != nil {
			return err
		}
		n, err := q.Exec(ctx, s.SQL.Resume, queue)
		if was = n > 0; err != nil || !was {
			return err
		}
		return s.audit(ctx, q, Act{Verb: VerbResumeQueue, Subject: queue, Count: 1, Was: before})
	})
	s.pauses.changed()
	s.hub.wake()
	return was, s.explain("resume queue", err)
}

// pauseOf describes the pause of a queue, if there is one.
func (s *Store) pauseOf(ctx context.Context, q Session, queue string) (text string, err error) {
	ms, err := q.Now(ctx)
	if err != nil {
		return "", err
	}
	err = q.Query(ctx, s.SQL.Pauses, []any{ms}, func(r Row) error {
		p, err := scanPause(r)
		if p.Queue == queue {
			text = p.end() + " by " + p.Actor + ": " + p.Reason
		}
		return err
	})
	return text, err
}

// end says when a pause ends by itself.
func (p Pause) end() string {
	if p.Until.IsZero() {
		return "without end"
	}
	return "until " + p.Until.UTC().Format(time.RFC3339)
}

func scanPause(r Row) (Pause, error) {
	var (
		p     Pause
		since int64
		until sql.NullInt64
	)
	err := r.Scan(&p.Queue, &p.Reason, &p.Actor, &since, &until)
	p.Since, p.Until = fromMillis(since), fromMillis(until.Int64)
	return p, err
}

// Pauses lists the pauses that are in force, by queue. now is the store's clock.
func (s *Store) Pauses(ctx context.Context) (ps []Pause, now time.Time, err error) {
	err = s.Engine.Read(ctx, func(ctx context.Context, q Session) (err error) {
		ms, err := q.Now(ctx)
		if err != nil {
			return err
		}
		now = fromMillis(ms)
		ps, err = s.pausesOf(ctx, q, ms)
		return err
	})
	return ps, now, s.explain("list pauses", err)
}

// Bounds of the age of what a process knows of the pauses.
const (
	pausesFor    = time.Second           // at most
	pausesHinted = 25 * time.Millisecond // after a hint, which says not what it is about
)

// pauses are what the consumers of a process know of the pauses. They share it, so
// that a busy process does not ask for each claim. It is safe for concurrent use.
type pauses struct {
	mu     sync.Mutex
	read   time.Time // when it was read; zero: it must be read
	news   news      // of all time
	heeded int       // of the hints: those before it was read
	queues []string  // that are paused
}

// news count what may have changed the pauses.
type news struct {
	changes int // of this process's own
	hints   int // that something has changed, perhaps a pause
}

// changed makes the next claim read the pauses.
func (p *pauses) changed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.read = time.Time{}
	p.news.changes++
}

// hint says that something has changed.
func (p *pauses) hint() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.news.hints++
}

// known are the queues that are paused, if that was read lately. Else the caller
// is to read it, and to hand before on to learn. A hint is mostly about a message: it
// makes who claims from these queues read first only where one of them is paused, and that may have ended.
func (p *pauses) known(from []string) (queues []string, before news, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	limit := pausesFor
	if p.hinted() && slices.ContainsFunc(from, func(q string) bool { return slices.Contains(p.queues, q) }) {
		limit = pausesHinted
	}
	return p.queues, p.news, !p.read.IsZero() && time.Since(p.read) < limit
}

// doubtful reports whether there was a hint since they were read, a while ago. The caller is to
// read them, and to hand before on to learn.
func (p *pauses) doubtful() (before news, doubt bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.news, p.hinted() && time.Since(p.read) >= pausesHinted
}

// hinted reports whether there was a hint since they were read.
func (p *pauses) hinted() bool { return p.news.hints > p.heeded }

// learn notes what was read since began, unless somebody who began later has. What may have been changed
// since then will be read again.
func (p *pauses) learn(began time.Time, before news, ps []Pause) []string {
	queues := make([]string, 0, len(ps))
	for _, one := range ps {
		queues = append(queues, one.Queue)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.news.changes == before.changes && began.After(p.read) {
		p.read, p.heeded, p.queues = began, before.hints, queues
	}
	return queues
}

// unpaused leaves out the queues that are paused.
func (s *Store) unpaused(ctx context.Context, queues []string) ([]string, error) {
	paused, before, ok := s.pauses.known(queues)
	if !ok {
		var err error
		if paused, err = s.readPauses(ctx, before); err != nil {
			return nil, err
		}
	}
	if len(paused) == 0 {
		return queues, nil
	}
	return slices.DeleteFunc(slices.Clone(queues), func(q string) bool { return slices.Contains(paused, q) }), nil
}

// heed reads anew which queues are paused if a hint may have been about that. It is for who
// has nothing else to do. Where it fails, the next claim reads.
func (s *Store) heed(ctx context.Context) {
	if before, doubt := s.pauses.doubtful(); doubt {
		_, _ = s.readPauses(ctx, before)
	}
}

// readPauses reads anew which queues are paused.
func (s *Store) readPauses(ctx context.Context, before news) (paused []string, err error) {
	began := time.Now()
	ps, _, err := s.Pauses(ctx)
	if err != nil {
		return nil, err
	}
	return s.pauses.learn(began, before, ps), nil
}
