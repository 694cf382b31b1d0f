package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// QueueStats are the figures of one queue.
type QueueStats struct {
	Queue     string
	Ready     int64         // due now
	Delayed   int64         // due later
	InFlight  int64         // leased to a worker
	Suspects  int64         // suspected of having killed their worker, to be run alone
	Dead      int64         // dead letters
	OldestAge time.Duration // how long the oldest ready message has been due
	NextDue   time.Duration // until the first delayed message is due; 0 if there is none
}

// Stats returns the figures of each queue that has a message or a dead letter,
// by name. It counts, so it reads every live row's index entry once.
func (s *Store) Stats(ctx context.Context) ([]QueueStats, error) {
	byName := map[string]*QueueStats{}
	of := func(queue string) *QueueStats {
		if byName[queue] == nil {
			byName[queue] = &QueueStats{Queue: queue}
		}
		return byName[queue]
	}
	err := s.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		err = q.Query(ctx, s.SQL.Depths, nil, func(r Row) error { return scanDepth(r, now, of) })
		if err != nil {
			return err
		}
		return q.Query(ctx, s.SQL.LetterCounts, nil, func(r Row) error {
			var queue string
			var n int64
			err := r.Scan(&queue, &n)
			of(queue).Dead = n
			return err
		})
	})
	if err != nil {
		return nil, s.explain("read stats", err)
	}
	out := make([]QueueStats, 0, len(byName))
	for _, st := range byName {
		out = append(out, *st)
	}
	slices.SortFunc(out, func(a, b QueueStats) int { return cmp.Compare(a.Queue, b.Queue) })
	return out, nil
}

// scanDepth reads one row of Statements.Depths: queue, state, count, earliest due.
func scanDepth(r Row, now int64, of func(string) *QueueStats) error {
	var (
		queue      string
		state      int
		n, minimum int64
	)
	if err := r.Scan(&queue, &state, &n, &minimum); err != nil {
		return err
	}
	st := of(queue)
	switch state {
	case stateReady:
		st.Ready = n
		st.OldestAge = time.Duration(max(now-minimum, 0)) * time.Millisecond
	case stateLater:
		st.Delayed = n
		st.NextDue = time.Duration(max(minimum-now, 1)) * time.Millisecond
	case stateClaimed:
		st.InFlight = n
	case stateSuspect:
		st.Suspects = n
	}
	return nil
}

// A Place says where a message is.
type Place string

// The places.
const (
	PlaceReady   Place = "ready"     // due, waits for a worker
	PlaceDelayed Place = "delayed"   // not due yet
	PlaceLeased  Place = "in flight" // a worker holds it
	PlaceSuspect Place = "suspect"   // may have killed its worker, waits to be run alone
	PlaceDead    Place = "dead"      // a dead letter
	PlaceRemoved Place = "removed"   // a dead letter that somebody removed
)

// A Position is what the store knows about one message.
type Position struct {
	driver.Envelope
	Place      Place
	Deliveries int
	Crashes    int
	Due        time.Time // when it is or was due
	LeaseEnd   time.Time // while it is in flight
	Claimed    time.Time // while it is in flight
	Worker     string    // while it is in flight
	Suspect    bool      // it may have killed its worker: it runs alone
	Ahead      int64     // ready messages that will be delivered before it
	Letter     *Letter   // when it is dead or removed
	Now        time.Time // the store's clock
}

// Find tells where a message is. It returns nil for a message that is done, or
// never was.
func (s *Store) Find(ctx context.Context, id string) (*Position, error) {
	for _, look := range []func(context.Context, string) (*Position, error){
		s.findMessage, s.findLetter, s.findMessage, // the last one: it may have been put back meanwhile
	} {
		if p, err := look(ctx, id); err != nil || p != nil {
			return p, err
		}
	}
	return nil, nil //nolint:nilnil // it is done, or never was
}

// findMessage tells of a message that is alive; nil: there is none.
func (s *Store) findMessage(ctx context.Context, id string) (p *Position, err error) {
	err = s.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		err = q.Query(ctx, s.SQL.Find, []any{id}, func(r Row) (err error) {
			p, err = scanPosition(r, now)
			return err
		})
		if err != nil || p == nil {
			return err
		}
		seq := p.Ahead
		p.Ahead = 0
		if p.Place != PlaceReady {
			return nil
		}
		due := p.Due.UnixMilli()
		args := []any{p.Queue, p.Priority, p.Priority, due, due, seq}
		return q.Query(ctx, s.SQL.Ahead, args, func(r Row) error { return r.Scan(&p.Ahead) })
	})
	if err != nil {
		return nil, s.explain("find message", err)
	}
	return p, nil
}

// scanPosition reads a row of Statements.Find. Ahead holds the row's number
// until the messages ahead of it have been counted.
func scanPosition(r Row, now int64) (*Position, error) {
	var (
		p                        Position
		state, suspect           int
		due, wake, sent, claimed int64
		header                   sql.NullString
	)
	err := r.Scan(&p.Ahead, &p.ID, &p.Kind, &p.Queue, &p.Priority, &state, &p.Attempt, &p.Deliveries, &p.Crashes,
		&due, &wake, &sent, &claimed, &p.Worker, &suspect, &header, &p.Body)
	if err != nil {
		return nil, err
	}
	p.Due, p.SentAt, p.Now = fromMillis(due), fromMillis(sent), fromMillis(now)
	switch state {
	case stateReady:
		p.Place = PlaceReady
	case stateLater:
		p.Place = PlaceDelayed
	case stateSuspect:
		p.Place = PlaceSuspect
	default:
		p.Place, p.LeaseEnd, p.Claimed = PlaceLeased, fromMillis(wake), fromMillis(claimed)
	}
	p.Suspect = suspect > 0
	p.Header, err = decodeHeader(header)
	return &p, err
}

// findLetter looks among the dead letters, the dead ones first.
func (s *Store) findLetter(ctx context.Context, id string) (*Position, error) {
	for _, gone := range []bool{false, true} {
		l, err := s.LastLetter(ctx, id, gone)
		if err != nil {
			return nil, err
		}
		if l == nil {
			continue
		}
		if l.Attempts, err = s.Attempts(ctx, id); err != nil {
			return nil, err
		}
		p := &Position{Envelope: l.Envelope, Place: PlaceDead, Letter: l, Deliveries: l.Deliveries, Crashes: l.Crashes}
		if gone {
			p.Place = PlaceRemoved
		}
		return p, nil
	}
	return nil, nil //nolint:nilnil // documented: nil is a message that is done
}
