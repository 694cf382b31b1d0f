package faulttest_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// D-3.
func TestConnectionsThatTheServerEndsAreReplaced(t *testing.T) {
	onEachKind(t, func(t *testing.T, k kind) {
		r := newRig(t, k, k.with(nil))
		r.work(r.server.Addr())
		r.load(r.server.Addr())
		rounds, ended := times(20, 200), 0
		for range rounds {
			whileLoaded(100 * time.Millisecond)
			ended += r.endConnections(func() bool { return rand.IntN(3) > 0 })
		}
		r.healed()
		t.Logf("ended %d connections", ended)
		if ended < rounds {
			t.Error("so few connections ended: the test shows nothing")
		}
		r.settle(rounds)
	})
}

// D-5. The workers lose their connections while somebody else takes every one
// that is free.
func TestAServerWithoutARoomIsWaitedFor(t *testing.T) {
	onEachKind(t, func(t *testing.T, k kind) {
		r := newRig(t, k, k.with(map[string]string{"max_connections": "60"}))
		r.work(r.server.Addr())
		r.load(r.server.Addr())
		spells := times(2, 10)
		for range spells {
			whileLoaded(300 * time.Millisecond)
			hog := r.hog()
			r.endAllFor(2 * time.Second)
			hog()
			r.healed()
		}
		r.settle(spells)
	})
}

// endAllFor ends the workers' connections again and again.
func (r *rig) endAllFor(d time.Duration) {
	for start := time.Now(); time.Since(start) < d; time.Sleep(200 * time.Millisecond) {
		r.endConnections(func() bool { return true })
	}
}

// hog takes all connections that the server has left, until it is told to let
// go of them.
func (r *rig) hog() (letGo func()) {
	r.t.Helper()
	db, err := r.server.Open("hog", r.kind.database)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	full := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { grab(ctx, db, sync.OnceFunc(func() { close(full) })) })
	<-full
	return func() {
		cancel()
		wg.Wait()
		if err := db.Close(); err != nil {
			r.t.Error(err)
		}
	}
}

// grab opens connections until ctx ends, and closes them then. It tells when
// there are no more.
func grab(ctx context.Context, db *sql.DB, full func()) {
	var held []*sql.Conn
	for ctx.Err() == nil {
		conn, err := db.Conn(ctx)
		if err == nil {
			held = append(held, conn)
			continue
		}
		if len(held) > 0 {
			full()
		}
		time.Sleep(5 * time.Millisecond)
	}
	for _, conn := range held {
		_ = conn.Close() // the server may have ended it
	}
}

// endConnections ends the workers' and producers' connections that are picked.
func (r *rig) endConnections(picked func() bool) (ended int) {
	r.t.Helper()
	ids, err := r.connections()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, id := range ids {
		if !picked() {
			continue
		}
		if _, err := r.admin.ExecContext(r.t.Context(), fmt.Sprintf(r.kind.kill, id)); err == nil {
			ended++ // else it has ended by itself
		}
	}
	return ended
}

func (r *rig) connections() (ids []int, err error) {
	rows, err := r.admin.QueryContext(r.t.Context(), r.kind.mine)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id int
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// D-11.
func TestTheFirstMessageAfterIdlenessCostsNothing(t *testing.T) {
	onEachKind(t, func(t *testing.T, k kind) {
		r := newRig(t, k, k.with(k.idle))
		r.work(r.server.Addr())
		nights := times(3, 10)
		for range nights {
			r.sendAndAwait(done) // one of each way to be handled
			r.sendAndAwait(done)
			time.Sleep(4 * time.Second)
			useApplicationPool(t, r.producer.DB())
		}
		if r.seen.starts != 2*nights {
			t.Errorf("handlers started %d times for %d messages", r.seen.starts, 2*nights)
		}
		r.settle(0)
	})
}

// useApplicationPool sees to it that the application's own connections survive
// idleness, too.
func useApplicationPool(t *testing.T, db *sql.DB) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), "update pair set v = v + 1"); err != nil {
		t.Errorf("application's statement after idleness: %v", err)
	}
}

// D-11. A handler that thinks for too long in the middle of its transaction
// loses its connection; it is the server's doing, and costs no attempt.
func TestATransactionThatTheServerEndsCostsNoAttempt(t *testing.T) {
	onEachKind(t, func(t *testing.T, k kind) {
		r := newRig(t, k, k.with(k.idle))
		r.work(r.server.Addr())
		r.sendAndAwait(dawdle)
		r.sendAndAwait(dawdle)
		if r.seen.starts != 4 {
			t.Errorf("handlers started %d times for 2 messages that need two starts each", r.seen.starts)
		}
		r.settle(2)
	})
}
