package poisontest_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/cli"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
)

// The size of the test; the long form takes the flags.
var (
	innocents = flag.Int("innocents", 1_500, "messages that kill nobody")
	poisons   = flag.Int("poisons", 5, "messages that kill their process")
)

// patience bounds the whole test: a safety net, never a measure.
const patience = 8 * time.Minute

// appEnv makes the test binary an application.
const appEnv = "POSTHORN_POISONTEST_APP"

// servers are private to this test process.
var servers testserver.Shared

func TestMain(m *testing.M) {
	if os.Getenv(appEnv) != "" {
		cli.Main(app())
	}
	os.Exit(servers.Main(m).Run())
}

// An order is a message; How says what its handler does.
type order struct {
	N   int    `json:"n"`
	How string `json:"how"`
}

// Kind of an order that is handled in two parts.
func (order) Kind() string { return "order" }

// orderTx is an order that is handled in one transaction.
type orderTx struct{ order }

// Kind of an order that is handled in one transaction.
func (orderTx) Kind() string { return "order_tx" }

// app is the application: its handlers write down what they have done, and how often it
// was tried.
func app() cli.App {
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
			go fill(m)
			runtime.Gosched()
		}
	case "goroutine":
		go func() { panic("nobody recovers this") }()
		select {}
	case "signal":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "stack":
		_ = deeper(1)
	}
}

// fill writes to a map. More than one at once, and the runtime ends the process.
func fill(m map[int]int) {
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
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := open.Store(ctx, dsn, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err := s.DB().ExecContext(ctx, "create table effect (n bigint, attempt bigint)"); err != nil {
		t.Fatal(err)
	}
	killers := send(ctx, t, s)
	fleet := launch(t, dsn)
	await(ctx, t, s, fleet)
	fleet.stop()
	check(ctx, t, s, killers)
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
	ids, err := d.DispatchMany(ctx, msgs)
	if err != nil {
		t.Fatal(err)
	}
	killers := map[string]string{}
	for i, how := range hows {
		killers[ids[i]] = how
	}
	return killers
}

// A fleet is `shop up` in a process of its own.
type fleet struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  lockedBuffer
	over chan error
}

// lockedBuffer is a buffer that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is what has been written so far.
func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func launch(t *testing.T, dsn string) *fleet {
	t.Helper()
	config := filepath.Join(t.TempDir(), "posthorn.yaml")
	text := "programs: {shop: {processes: 2, concurrency: 32, drain_timeout: 5s}}\nlog: {level: warn}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, cmd: exec.Command(os.Args[0], "up", "--config", config), over: make(chan error, 1)}
	f.cmd.Env = append(os.Environ(), appEnv+"=1", "POSTHORN_STORE="+dsn, "GOTRACEBACK=single")
	f.cmd.Stdout, f.cmd.Stderr = &f.out, &f.out
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { f.over <- f.cmd.Wait() }() // ended by stop, or by the cleanup
	t.Cleanup(func() { _ = f.cmd.Process.Kill() })
	return f
}

// stop ends it gracefully.
func (f *fleet) stop() {
	f.t.Helper()
	_ = f.cmd.Process.Signal(syscall.SIGTERM)
	if err := <-f.over; err != nil {
		f.t.Errorf("up ended with %v\n%s", err, f.tail())
	}
}

// tail is the end of its output.
func (f *fleet) tail() string {
	text := f.out.String()
	return text[max(0, len(text)-4000):]
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
			t.Fatalf("up ended with %v\n%s", err, f.tail())
		case <-ctx.Done():
			t.Fatalf("%d messages are left\n%s", left, f.tail())
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
