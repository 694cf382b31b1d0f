package torture

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/posthorn/posthorn/internal/proxy"
)

// between is a time within bounds, by chance.
func between(rnd *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(rnd.Int64N(int64(most-least)))
}

// victim picks a process that is to be harmed: a worker, or each fourth time one of another
// role, of which there are fewer.
func (c *crew) victim(rnd *rand.Rand, others ...role) *member {
	if rnd.IntN(4) == 0 {
		if m := c.pick(rnd, others[rnd.IntN(len(others))]); m != nil {
			return m
		}
	}
	return c.pick(rnd, roleWorker)
}

func killProcess(_ context.Context, s *stage, rnd *rand.Rand) error {
	m := s.crew.victim(rnd, roleProducer, roleOperator)
	if m == nil {
		return errNobody
	}
	s.crew.kill(m)
	return nil
}

func killSupervisor(_ context.Context, s *stage, rnd *rand.Rand) error {
	m := s.crew.pick(rnd, roleSupervisor)
	if m == nil {
		return errNobody
	}
	s.crew.kill(m)
	return nil
}

func endWorker(_ context.Context, s *stage, rnd *rand.Rand) error {
	m := s.crew.victim(rnd, roleWorker, roleOperator)
	if m == nil {
		return errNobody
	}
	return s.crew.ask(m)
}

func stopWorker(ctx context.Context, s *stage, rnd *rand.Rand) error {
	m := s.crew.victim(rnd, roleOperator)
	if m == nil {
		return errNobody
	}
	return s.crew.stop(ctx, m, lease+between(rnd, 500*time.Millisecond, 2*time.Second))
}

func killServer(ctx context.Context, s *stage, rnd *rand.Rand) error {
	if err := s.place.server.Kill(); err != nil {
		return err
	}
	wait(ctx, between(rnd, 0, time.Second))
	// Without a server the rest of the run would prove nothing: on a machine that is starved,
	// a start may take longer than it is given.
	err := s.place.server.Start()
	for range 4 {
		if err == nil {
			return nil
		}
		err = s.place.server.Start()
	}
	return err
}

func stopServer(ctx context.Context, s *stage, rnd *rand.Rand) error {
	if err := s.place.server.Pause(); err != nil {
		return err
	}
	wait(ctx, between(rnd, 500*time.Millisecond, 2*lease))
	return s.place.server.Resume()
}

// endSessions ends connections of the run's processes, a part of them or all,
// several times.
func endSessions(ctx context.Context, s *stage, rnd *rand.Rand) error {
	for range 1 + rnd.IntN(4) {
		if err := s.endConnections(ctx, func() bool { return rnd.IntN(3) > 0 }); err != nil {
			return err
		}
		wait(ctx, between(rnd, 20*time.Millisecond, 300*time.Millisecond))
	}
	return nil
}

// endConnections ends the connections that are picked.
func (s *stage) endConnections(ctx context.Context, picked func() bool) error {
	ids, err := s.connections(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if picked() { // it may have ended by itself
			_, _ = s.admin.ExecContext(ctx, fmt.Sprintf(s.words.kill, id))
		}
	}
	return nil
}

// connections are the ids of those of the run's processes.
func (s *stage) connections(ctx context.Context) (ids []int64, err error) {
	rows, err := s.admin.QueryContext(ctx, s.control.Rebind(s.words.ours), s.place.name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// hogConnections takes all connections, and ends those of the run's processes, so
// that they need new ones.
func hogConnections(ctx context.Context, s *stage, rnd *rand.Rand) error {
	if err := s.admin.PingContext(ctx); err != nil { // a restart may have ended it, and soon there is no room
		return err
	}
	db, err := s.place.server.Open("hog", s.place.name)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	var held []*sql.Conn
	defer func() {
		for _, conn := range held {
			_ = conn.Close()
		}
	}()
	for end := time.Now().Add(between(rnd, time.Second, 3*time.Second)); time.Now().Before(end); {
		conn, err := db.Conn(ctx)
		if err == nil {
			held = append(held, conn)
			continue
		}
		// The hog may have what the run itself needs for this: then the next turn does it.
		_ = s.endConnections(ctx, func() bool { return rnd.IntN(4) == 0 })
		wait(ctx, 100*time.Millisecond)
	}
	return nil
}

// makeReadOnly lets nobody write, as on a server that was demoted.
func makeReadOnly(ctx context.Context, s *stage, rnd *rand.Rand) error {
	off, on := s.readOnly()
	if err := s.place.server.Exec(off...); err != nil {
		return err
	}
	wait(ctx, between(rnd, 500*time.Millisecond, 3*time.Second))
	return s.place.server.Exec(on...)
}

// readOnly is how writing is forbidden, and allowed again.
func (s *stage) readOnly() (off, on []string) {
	if s.place.kind == "mysql" {
		return []string{"set global read_only = 1"}, []string{"set global read_only = 0"}
	}
	return []string{"alter system set default_transaction_read_only = on", "select pg_reload_conf()"},
		[]string{"set default_transaction_read_only = off", "alter system reset default_transaction_read_only",
			"select pg_reload_conf()"}
}

// lockOut holds the lock of a SQLite file that every writer needs.
func lockOut(ctx context.Context, s *stage, rnd *rand.Rand) error {
	conn, err := s.admin.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.ExecContext(ctx, "begin immediate"); err != nil {
		return err
	}
	wait(ctx, between(rnd, 300*time.Millisecond, 2*lease))
	_, err = conn.ExecContext(context.WithoutCancel(ctx), "rollback")
	return err
}

// cutCommits cuts connections at COMMITs, before the server gets them or after it
// has replied: the client sees the same error.
func cutCommits(ctx context.Context, s *stage, rnd *rand.Rand) error {
	side := []proxy.Side{proxy.Before, proxy.After}[rnd.IntN(2)]
	s.place.proxy.CutCommits(proxy.CommitCut{Side: side, Probability: 0.05 + 0.2*rnd.Float64(), Seed: rnd.Uint64()})
	wait(ctx, between(rnd, 500*time.Millisecond, 2*time.Second))
	s.place.proxy.CutCommits(proxy.CommitCut{})
	return nil
}

// freezeNetwork lets nothing pass, as if the other host had lost its power.
func freezeNetwork(ctx context.Context, s *stage, rnd *rand.Rand) error {
	s.place.proxy.Freeze(true)
	wait(ctx, between(rnd, 500*time.Millisecond, 2*lease))
	s.place.proxy.Freeze(false)
	return nil
}

// outage lets every handler fail that needs a partner, until he is back.
func outage(ctx context.Context, s *stage, rnd *rand.Rand) error {
	if err := os.WriteFile(s.away(), nil, 0o600); err != nil {
		return err
	}
	wait(ctx, between(rnd, time.Second, 4*time.Second))
	return os.Remove(s.away())
}

// away is the file that is there while the partner is away.
func (s *stage) away() string { return filepath.Join(s.opts.Dir, "away") }
