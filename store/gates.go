package store

import (
	"context"
	"time"
)

// A message is claimed when it is ready and its queue is not paused. All others
// stand before a gate. One list of gates is what the statements are made of that
// claim messages, or make them ready to be claimed, and it is what [Store.Gates]
// asks about one message: so what is said about a message cannot differ from what
// is done with it (ADR 34).

// A Gate keeps messages from being claimed until it opens.
type Gate struct {
	Stands string // which messages stand before it: a condition on posthorn_message
	Opens  string // when it opens for one of them; its one parameter is a time
}

// Through is the condition of the messages that it lets through; its one
// parameter is a time.
func (g Gate) Through() string { return g.Stands + ` and ` + g.Opens }

// Gates are the gates of one dialect. The time is the store's clock, and of
// Suspect so long before it as suspects wait for somebody who runs them alone.
type Gates struct {
	Delayed Gate // not due yet
	Leased  Gate // a worker holds it
	Suspect Gate // may have killed its worker
}

// Conditions of claims. What a gate has let through is compared again by its wake_at
// when it changes.
const (
	Ready     = `state = 0`                        // any consumer may have it
	Suspected = `state = 3`                        // whoever runs suspects alone may have it
	suspects  = Suspected + ` and suspect > 0`     // the same, by the index of suspects
	waiting   = `state in (1, 2)`                  // delayed or leased
	wakes     = `wake_at <= ?`                     // its time has come
	inForce   = `until_ms is null or until_ms > ?` // a pause keeps its queue from everybody: now
)

// PortableGates are the gates in words that every database understands.
func PortableGates() Gates {
	return Gates{
		Delayed: Gate{Stands: `state = 1`, Opens: wakes},
		Leased:  Gate{Stands: `state = 2`, Opens: wakes},
		Suspect: Gate{Stands: suspects, Opens: wakes},
	}
}

// pass adds the statements that are made of the gates to those that a dialect has.
func (g Gates) pass(s *Statements) {
	s.Later = `select seq, due_at from posthorn_message where ` + g.Delayed.Through() + ` order by wake_at limit 500`
	s.Expired = `select seq from posthorn_message where ` + g.Leased.Stands + ` and wake_at > ? and ` + g.Leased.Opens + `
			order by wake_at limit 500`
	s.SuspectsOld = `select seq from posthorn_message where ` + g.Suspect.Through() + ` limit 500`
	s.SuspectReady = `select 1 from posthorn_message where ` + g.Suspect.Stands + ` and queue = ? limit 1`
	s.Ready = `select 1 from posthorn_message where ` + Ready + ` and queue = ? limit 1`
	s.Ask(g)
}

// Ask makes the statement that asks the gates about one message: now, now, since,
// id.
func (s *Statements) Ask(g Gates) {
	s.Gates = `select queue, wake_at, case when ` + Ready + ` then 1 else 0 end, `
	for i, gate := range []Gate{g.Delayed, g.Leased, g.Suspect} {
		if i > 0 {
			s.Gates += `, `
		}
		s.Gates += `case when ` + gate.Stands + ` then 1 else 0 end, case when ` + gate.Opens + ` then 1 else 0 end`
	}
	s.Gates += ` from posthorn_message where id = ?`
}

// The names of the gates, which never change.
const (
	GateDelayed = "delayed"
	GateLeased  = "leased"
	GateSuspect = "suspect"
	GatePaused  = "paused"
)

// A Closed is a gate that is closed for one message.
type Closed struct {
	Gate  string    // GateDelayed and the others
	Until time.Time // when it opens by itself, by the store's clock; zero: never
	Pause *Pause    // of GatePaused
}

// Gates says which gates are closed for a live message: none when a claim from its
// queue would return it, as soon as its turn has come. now is the store's clock, and
// ok is false for a message that is not live.
func (s *Store) Gates(ctx context.Context, id string) (closed []Closed, now time.Time, ok bool, err error) {
	err = s.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		closed, ok = nil, false
		ms, err := q.Now(ctx)
		if err != nil {
			return err
		}
		now = fromMillis(ms)
		var queue string
		args := []any{ms, ms, ms - s.opts.SuspectPatience.Milliseconds(), id}
		err = q.Query(ctx, s.SQL.Gates, args, func(r Row) (err error) {
			queue, closed, err = s.scanGates(r)
			ok = true
			return err
		})
		if err != nil || !ok {
			return err
		}
		ps, err := s.pausesOf(ctx, q, ms)
		for _, p := range ps {
			if p.Queue == queue {
				closed = append(closed, Closed{Gate: GatePaused, Until: p.Until, Pause: &p})
			}
		}
		return err
	})
	return closed, now, ok, s.explain("ask the gates", err)
}

// scanGates reads the row of Statements.Gates.
func (s *Store) scanGates(r Row) (queue string, closed []Closed, err error) {
	var (
		wake          int64
		ready         int
		stands, opens [3]int
	)
	err = r.Scan(&queue, &wake, &ready, &stands[0], &opens[0], &stands[1], &opens[1], &stands[2], &opens[2])
	if err != nil || ready > 0 {
		return queue, nil, err
	}
	for i, name := range []string{GateDelayed, GateLeased, GateSuspect} {
		if stands[i] == 0 || opens[i] > 0 {
			continue
		}
		until := fromMillis(wake)
		if name == GateSuspect {
			until = until.Add(s.opts.SuspectPatience)
		}
		closed = append(closed, Closed{Gate: name, Until: until})
	}
	return queue, closed, nil
}

// pausesOf lists the pauses that are in force at a time.
func (s *Store) pausesOf(ctx context.Context, q Session, now int64) (ps []Pause, err error) {
	err = q.Query(ctx, s.SQL.Pauses, []any{now}, func(r Row) error {
		p, err := scanPause(r)
		ps = append(ps, p)
		return err
	})
	return ps, err
}
