package fleettest_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/cli"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/witness"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
)

// The size of the test; the long form takes the flags.
var (
	innocents = flag.Int("innocents", 600, "messages that kill nobody")
	poisons   = flag.Int("poisons", 5, "messages that kill their process")
)

// killWithin bounds the whole hunt: a safety net, never a measure.
const killWithin = 8 * time.Minute

// An order is a message; How says what its handler does.
type order struct {
	N   int    `json:"n"`
	How string `json:"how"`

	Secret witness.Hidden `json:"secret"`
}

// Kind of an order that is handled in two parts.
func (order) Kind() string { return "order" }

// orderTx is an order that is handled in one transaction.
type orderTx struct{ order }

// Kind of an order that is handled in one transaction.
func (orderTx) Kind() string { return "order_tx" }

// killers is the application: its handlers write down what they have done, and how often it
// was tried.
func killers() cli.App {
	mux := posthorn.NewMux()
	return cli.App{Name: "shop", Mux: mux, Setup: func(_ context.Context, env cli.Env) error {
		insert := "insert into effect (n, attempt) values (?, ?)"
		if env.Store.Dialect() == "postgres" {
			insert = "insert into effect (n, attempt) values ($1, $2)"
		}
		write := func(ctx context.Context, tx *posthorn.Tx, o order) error {
			d, _ := posthorn.DeliveryFrom(ctx)
			_, err := tx.ExecContext(ctx, insert, o.N, d.Attempt)
			return err
		}
		posthorn.HandleTx(mux, func(ctx context.Context, tx *posthorn.Tx, o orderTx) error {
			kill(o.How)
			return write(ctx, tx, o.order)
		})
		posthorn.HandleEffect(mux, func(_ context.Context, o order) (posthorn.Effect, error) {
			kill(o.How)
			return func(ctx context.Context, tx *posthorn.Tx) error { return write(ctx, tx, o) }, nil
		})
		return nil
	}}
}

// deaths are the ways to kill the process that no recover can stop.
func deaths() []string { return []string{"exit", "map", "goroutine", "signal", "stack"} }

// kill does to the process what how says.
func kill(how string) {
	switch how {
	case "exit":
		os.Exit(7)
	case "map":
		m := map[int]int{}
		for {
			go scribble(m)
			runtime.Gosched()
		}
	case "goroutine":
		go func() { panic("nobody recovers this") }()
		select {}
	case "signal":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "stack":
		debug.SetMaxStack(32 << 20) // a gigabyte takes seconds, and shows nothing more
		_ = deeper(1)
	}
}

// scribble writes to a map. More than one at once, and the runtime ends the process.
func scribble(m map[int]int) {
	for i := range 1000 {
		m[i] = i
	}
}

// deeper overflows the stack.
func deeper(n int) int {
	if n < 0 { // never
		return 0
	}
	return deeper(n+1) + n
}

func TestProcessKillersAreFoundAndInnocentsPayNothing(t *testing.T) {
	for name, dsn := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "store.db") },
		"postgres": func(t *testing.T) string { return servers.PostgreSQL(t).DSN() },
		"mariadb": func(t *testing.T) string {
			d := servers.MariaDB(t)
			return fmt.Sprintf("mysql://%s@%s/%s", d.Server.Superuser(), d.Server.Addr(), d.Name)
		},
	} {
		t.Run(name, func(t *testing.T) { hunt(t, dsn(t)) })
	}
}

// hunt runs the fleet among messages some of which kill.
func hunt(t *testing.T, dsn string) {
	ctx, cancel := context.WithTimeout(t.Context(), killWithin)
	defer cancel()
	s, err := open.Store(ctx, dsn, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err := s.DB().ExecContext(ctx, "create table effect (n bigint, attempt bigint)"); err != nil {
		t.Fatal(err)
	}
	accused := send(ctx, t, s)
	fleet := launch(t, "killers", dsn, `
programs: {shop: {processes: 2, concurrency: 32, drain_timeout: 5s}}
log: {level: warn}
`)
	await(ctx, t, s, fleet)
	fleet.stop()
	check(ctx, t, s, accused)
}

// send mixes the killers evenly among the innocents. It returns the killers' ids.
func send(ctx context.Context, t *testing.T, s *store.Store) map[string]string {
	t.Helper()
	d, err := posthorn.NewDispatcher(s, posthorn.DispatcherOptions{Queue: "async"})
	if err != nil {
		t.Fatal(err)
	}
	var msgs []posthorn.Message
	hows := map[int]string{} // by the place among the messages
	add := func(o order) {
		if len(msgs)%2 == 0 {
			msgs = append(msgs, orderTx{o})
		} else {
			msgs = append(msgs, o)
		}
	}
	every := max(*innocents / *poisons, 1)
	for n := range *innocents {
		add(order{N: n})
		if n%every == every/2 && len(hows) < *poisons {
			how := deaths()[len(hows)%len(deaths())]
			hows[len(msgs)] = how
			add(order{N: -n, How: how})
		}
	}
	ids, err := d.DispatchMany(ctx, msgs, posthorn.WithHeader("authorization", witness.Secret))
	if err != nil {
		t.Fatal(err)
	}
	killers := map[string]string{}
	for i, how := range hows {
		killers[ids[i]] = how
	}
	return killers
}

// await waits until nothing waits any more.
func await(ctx context.Context, t *testing.T, s *store.Store, f *fleet) {
	t.Helper()
	for {
		left := int64(0)
		stats, err := s.Stats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range stats {
			left += q.Ready + q.Delayed + q.InFlight + q.Suspects
		}
		if left == 0 {
			return
		}
		select {
		case err := <-f.over:
			t.Fatalf("up ended with %v\n%s", err, f.out.String())
		case <-ctx.Done():
			t.Fatalf("%d messages are left\n%s", left, f.out.String())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// check compares what is dead and what was done with what must be.
func check(ctx context.Context, t *testing.T, s *store.Store, killers map[string]string) {
	t.Helper()
	letters, err := s.Letters(ctx, store.LetterFilter{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	worst := 0
	for _, l := range letters {
		how, ok := killers[l.ID]
		if !ok {
			t.Errorf("an innocent was buried: %s, %s: %s", l.ID, l.Reason, l.Error)
			continue
		}
		delete(killers, l.ID)
		attempts, err := s.Attempts(ctx, l.ID)
		if err != nil {
			t.Fatal(err)
		}
		worst = max(worst, proof(t, l, attempts, how))
	}
	if len(killers) > 0 {
		t.Errorf("killers that are not dead letters: %v", killers)
	}
	done, tried := 0, 0
	row := s.DB().QueryRowContext(ctx, "select count(distinct n), count(*) from effect where attempt = 0 and n >= 0")
	if err := errors.Join(row.Scan(&done, &tried)); err != nil {
		t.Fatal(err)
	}
	if done != *innocents || tried != *innocents {
		t.Errorf("%d effects of %d innocents at their first attempt, want %d", tried, done, *innocents)
	}
	t.Logf("%d killers among %d innocents; a killer has killed %d processes at most", *poisons, *innocents, worst)
}

// proof checks the evidence of a dead letter. It returns how many processes died.
func proof(t *testing.T, l store.Letter, attempts []driver.Attempt, how string) int {
	t.Helper()
	if l.Reason != driver.ReasonCrashed || l.Class != driver.ClassCrash {
		t.Errorf("killer by %s is dead for %s, class %s: %s", how, l.Reason, l.Class, l.Error)
	}
	crashes := 0
	for _, a := range attempts {
		if a.Class == driver.ClassCrash {
			crashes++
		}
	}
	if crashes != l.Crashes || crashes == 0 || crashes > 5 {
		t.Errorf("killer by %s: %d crashes in its history, %d counted", how, crashes, l.Crashes)
		return crashes
	}
	want := map[string][2]string{
		"exit": {"exit status 7", ""}, "map": {"exit status 2", "concurrent map"},
		"goroutine": {"exit status 2", "nobody recovers this"}, "signal": {"signal: killed", ""},
		"stack": {"exit status 2", "stack"},
	}[how]
	last := attempts[len(attempts)-1]
	if !strings.Contains(last.Error, want[0]) || !strings.Contains(last.Stack, want[1]) ||
		!strings.Contains(last.Stack, "resident memory") {
		t.Errorf("evidence of the killer by %s: %q\n%s", how, last.Error, last.Stack)
	}
	return crashes
}
