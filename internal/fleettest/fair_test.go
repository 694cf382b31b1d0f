package fleettest_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/cli"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
)

// The size of the test: so many messages in each of its queues, and so many fleets, which
// stand for hosts, of so many processes.
const (
	shared        = 900
	hosts         = 2
	perHost       = 2
	handlingTakes = 4 * time.Millisecond
)

// sharers is an application that writes down who handled what.
func sharers() cli.App {
	mux := posthorn.NewMux()
	pid := os.Getpid()
	posthorn.HandleEffect(mux, func(ctx context.Context, _ order) (posthorn.Effect, error) {
		d, _ := posthorn.DeliveryFrom(ctx)
		select {
		case <-time.After(handlingTakes):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		return func(ctx context.Context, tx *posthorn.Tx) error {
			_, err := tx.ExecContext(ctx, "insert into handled (queue, pid) values ($1, $2)", d.Queue, pid)
			return err
		}, nil
	})
	return cli.App{Name: "shop", Mux: mux}
}

// A turn is one message that was handled.
type turn struct {
	queue string
	pid   int
}

func TestProcessesOfSeveralHostsShareTheQueuesAndStarveNone(t *testing.T) {
	for name, c := range map[string]struct {
		config      string
		least, most float64 // the part of queue low while both are full
	}{
		"by rank":   {"", 0.02, 0.15},
		"by weight": {", weights: {high: 3}", 0.15, 0.35},
	} {
		t.Run(name, func(t *testing.T) {
			turns := handleAll(t, "transports: {high: {}, low: {}}\n"+
				"programs: {shop: {consume: [high, low], processes: 2, concurrency: 4"+c.config+"}}\n")
			full := bothFull(turns)
			if len(full) < shared/3 {
				t.Fatalf("both queues were full for %d messages only", len(full))
			}
			count, byQueue := map[int]int{}, map[string]int{}
			for _, one := range full {
				count[one.pid]++
				byQueue[one.queue]++
			}
			if part := float64(byQueue["low"]) / float64(len(full)); part < c.least || part > c.most {
				t.Errorf("queue low got %.3f of the messages, want %.3f to %.3f", part, c.least, c.most)
			}
			checkFair(t, count, float64(len(full))/(hosts*perHost))
		})
	}
}

// checkFair checks that each process had a part of about the size; a busy machine gives some
// of them less time than others, but none is left out and none takes nearly all.
func checkFair(t *testing.T, count map[int]int, fair float64) {
	t.Helper()
	for pid, n := range count {
		if part := float64(n) / fair; part < 0.15 || part > 2.6 {
			t.Errorf("process %d handled %.2f of its fair part: %v", pid, part, count)
		}
	}
}

// bothFull are the turns that were taken when all processes worked and no queue was near
// its end.
func bothFull(turns []turn) []turn {
	pids, left := map[int]bool{}, map[string]int{"high": shared, "low": shared}
	begin := -1
	for i, one := range turns {
		left[one.queue]--
		if pids[one.pid] = true; begin < 0 && len(pids) == hosts*perHost {
			begin = i
		}
		if min(left["high"], left["low"]) < shared/10 {
			return turns[max(begin, 0):i]
		}
	}
	return nil
}

// handleAll lets the hosts handle full queues, and returns what they did in its order.
func handleAll(t *testing.T, config string) (turns []turn) {
	ctx, cancel := context.WithTimeout(t.Context(), killWithin)
	defer cancel()
	dsn := servers.PostgreSQL(t).DSN()
	s, err := open.Store(ctx, dsn, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err := s.DB().ExecContext(ctx, "create table handled (n serial, queue text, pid bigint)"); err != nil {
		t.Fatal(err)
	}
	fillBoth(ctx, t, s)
	for range hosts {
		defer launch(t, "sharers", dsn, config).stop()
	}
	for len(turns) < 2*shared {
		if turns = readTurns(ctx, t, s); ctx.Err() != nil {
			t.Fatalf("%d of %d messages were handled", len(turns), 2*shared)
		}
		<-time.After(100 * time.Millisecond)
	}
	return turns
}

func fillBoth(ctx context.Context, t *testing.T, s *store.Store) {
	t.Helper()
	d, err := posthorn.NewDispatcher(s, posthorn.DispatcherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	msgs := make([]posthorn.Message, shared)
	for i := range msgs {
		msgs[i] = order{N: i}
	}
	for _, queue := range []string{"high", "low"} {
		if _, err := d.DispatchMany(ctx, msgs, posthorn.WithQueue(queue)); err != nil {
			t.Fatal(err)
		}
	}
}

func readTurns(ctx context.Context, t *testing.T, s *store.Store) (turns []turn) {
	t.Helper()
	rows, err := s.DB().QueryContext(ctx, "select queue, pid from handled order by n")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var one turn
		if err := rows.Scan(&one.queue, &one.pid); err != nil {
			t.Fatal(err)
		}
		turns = append(turns, one)
	}
	return turns
}
