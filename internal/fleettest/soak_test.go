package fleettest_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/cli"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/internal/witness"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
)

// How long the fleet soaks, how often something is done to it, and how much it has to
// do meanwhile; the long form takes the flags.
var (
	soak  = flag.Duration("soak", 8*time.Second, "how long")
	pause = flag.Duration("every", 500*time.Millisecond, "between two faults")
	batch = flag.Int("batch", 10, "messages sent every 100ms")
	seed  = flag.Uint64("seed", 0, "of the faults; 0 picks one")
)

// processes is the size of the fleet.
const processes = 3

// patience bounds what has to happen after the soak: a safety net, never a measure.
const patience = 3 * time.Minute

// A drop is a message.
type drop struct {
	N int `json:"n"`

	Secret witness.Hidden `json:"secret"`
}

// Kind names it.
func (drop) Kind() string { return "drop" }

// drops is the application: its handlers write down what they have done.
func drops() cli.App {
	mux := posthorn.NewMux()
	posthorn.HandleEffect(mux, func(_ context.Context, d drop) (posthorn.Effect, error) {
		time.Sleep(time.Duration(d.N%20) * time.Millisecond)
		return func(ctx context.Context, tx *posthorn.Tx) error {
			_, err := tx.ExecContext(ctx, "insert into effect (n) values ($1)", d.N)
			return err
		}, nil
	})
	return cli.App{Name: "shop", Mux: mux}
}

// A tub is one soak.
type tub struct {
	*fleet
	base   *testserver.Database
	store  *store.Store
	rnd    *rand.Rand
	sent   int
	faults map[string]int
}

func TestFleetNeedsNoHand(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("seed %d", *seed)
	b := fill(t)
	b.settled("at the start")
	before := b.figures()
	b.storm()
	b.settled("after the storm")
	after := b.figures()
	t.Logf("%d messages, faults %v; supervisor before: %s; after: %s", b.sent, b.faults, before, after)
	b.check(before, after)
	b.drain()
}

// fill starts the fleet on a database of its own.
func fill(t *testing.T) *tub {
	t.Helper()
	base := servers.PostgreSQL(t)
	dsn := base.DSN()
	s, err := open.Store(t.Context(), dsn, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.DB().ExecContext(t.Context(), "create table effect (n bigint)"); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`
programs: {shop: {processes: %d, lease: 5s, limits: {messages: 5000}}}
log: {level: warn}
`, processes)
	return &tub{
		fleet: launch(t, "drops", dsn, config), base: base, store: s, rnd: rand.New(rand.NewPCG(*seed, 0)),
		faults: map[string]int{},
	}
}

// workers are the processes of the fleet now: the children of the supervisor that run
// the command work.
func (b *tub) workers() []int {
	var pids []int
	for _, pid := range children(b.cmd.Process.Pid) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		args := strings.Split(string(line), "\x00")
		if err == nil && slices.Contains(args, "work") && !slices.Contains(args, "--isolated") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// children are the processes whose parent a process is.
func children(of int) []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue // it has ended
		}
		rest := string(stat[bytes.LastIndexByte(stat, ')')+1:])
		var state string
		var parent int
		if _, err := fmt.Sscan(rest, &state, &parent); err == nil && parent == of && state != "Z" {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			pids = append(pids, pid)
		}
	}
	return pids
}

// storm sends messages, and does something to the fleet, until the time is over.
func (b *tub) storm() {
	d, err := posthorn.NewDispatcher(b.store, posthorn.DispatcherOptions{Queue: "async"})
	if err != nil {
		b.t.Fatal(err)
	}
	end := time.Now().Add(*soak)
	for next := time.Now(); time.Now().Before(end); {
		msgs := make([]posthorn.Message, *batch)
		for i := range msgs {
			msgs[i] = drop{N: b.sent + i}
		}
		if _, err := d.DispatchMany(b.t.Context(), msgs); err != nil {
			b.t.Fatalf("send: %v", err) // the server stays up: nothing excuses it
		}
		b.sent += *batch
		if time.Now().After(next) {
			b.hurt()
			next = time.Now().Add(*pause)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// hurt does one thing to the fleet.
func (b *tub) hurt() {
	pids := b.workers()
	if len(pids) == 0 {
		return
	}
	pid := pids[b.rnd.IntN(len(pids))]
	kill := func(name string, sig syscall.Signal) {
		if syscall.Kill(pid, sig) == nil {
			b.faults[name]++
		}
	}
	switch b.rnd.IntN(10) {
	case 0, 1, 2, 3:
		kill("killed", syscall.SIGKILL)
	case 4, 5:
		kill("told to stop", syscall.SIGTERM)
	case 6:
		kill("stopped for a while", syscall.SIGSTOP)
		time.Sleep(time.Second)
		_ = syscall.Kill(pid, syscall.SIGCONT)
	default:
		_, err := b.store.DB().ExecContext(b.t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity
			where datname = current_database() and pid <> pg_backend_pid() and application_name like 'posthorn%'
			order by random() limit 3`)
		if err != nil {
			b.t.Logf("cut connections: %v", err)
		}
		b.faults["connections cut"]++
	}
}

// settled waits until the fleet has its size and nothing is left to do.
func (b *tub) settled(when string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	for {
		left := b.left(ctx)
		workers, alive := b.workers(), b.alive(ctx)
		calm := len(children(b.cmd.Process.Pid)) == processes+1 // the guardian; no process for suspects
		if left == 0 && len(workers) == processes && alive == processes && calm {
			return
		}
		select {
		case err := <-b.over:
			b.t.Fatalf("up ended with %v\n%s", err, b.out.String())
		case <-ctx.Done():
			b.t.Fatalf("%s: %d messages left, %d processes, %d registered workers\n%s",
				when, left, len(workers), alive, b.out.String())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// left is what is not done.
func (b *tub) left(ctx context.Context) (left int64) {
	stats, err := b.store.Stats(ctx)
	if err != nil {
		return -1
	}
	for _, q := range stats {
		left += q.Ready + q.Delayed + q.InFlight + q.Suspects
	}
	return left
}

// alive counts the workers that were heard of lately, those of dead processes left out.
func (b *tub) alive(ctx context.Context) (n int) {
	ws, now, err := b.store.Workers(ctx)
	if err != nil {
		return -1
	}
	pids := b.workers()
	for _, w := range ws {
		if now.Sub(w.Seen) < store.WorkerSilence && slices.Contains(pids, w.PID) {
			n++
		}
	}
	return n
}

// figures are what a process has taken.
type figures struct{ rss, files, threads, children int }

// String is for people.
func (f figures) String() string {
	return fmt.Sprintf("%d MiB, %d files, %d threads, %d children", f.rss>>20, f.files, f.threads, f.children)
}

func (b *tub) figures() (f figures) {
	pid := b.cmd.Process.Pid
	files, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	f.files, f.children = len(files), len(children(pid))
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		name, rest, _ := strings.Cut(line, ":")
		n, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
		switch name {
		case "VmRSS":
			f.rss = n << 10
		case "Threads":
			f.threads = n
		}
	}
	return f
}

// check compares what was done with what was sent, and what the supervisor has taken
// with what it had.
func (b *tub) check(before, after figures) {
	b.t.Helper()
	var rows, different int
	row := b.store.DB().QueryRowContext(b.t.Context(), "select count(*), count(distinct n) from effect")
	if err := row.Scan(&rows, &different); err != nil {
		b.t.Fatal(err)
	}
	if rows != b.sent || different != b.sent {
		b.t.Errorf("%d effects of %d messages, %d sent", rows, different, b.sent)
	}
	letters, err := b.store.Letters(b.t.Context(), store.LetterFilter{Limit: 10})
	if err != nil || len(letters) > 0 {
		b.t.Errorf("dead letters: %+v, %v", letters, err)
	}
	if after.children != before.children {
		b.t.Errorf("the supervisor has %d children, had %d", after.children, before.children)
	}
	const slack = 8 // connections and files come and go
	if after.files > before.files+slack || after.threads > before.threads+slack || after.rss > 2*before.rss+32<<20 {
		b.t.Errorf("the supervisor has grown: %s; before: %s", after, before)
	}
}

// drain stops the fleet. Nothing of it is left.
func (b *tub) drain() {
	b.t.Helper()
	pids := append(children(b.cmd.Process.Pid), b.cmd.Process.Pid)
	b.stop()
	for _, pid := range pids {
		if syscall.Kill(pid, 0) == nil {
			b.t.Errorf("process %d is left behind", pid)
		}
	}
	if err := b.store.Close(); err != nil {
		b.t.Errorf("close store: %v", err)
	}
	db, err := b.base.Server.Open(b.base.Server.Superuser(), b.base.Name)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	n := 1
	for deadline := time.Now().Add(patience); n > 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		row := db.QueryRowContext(b.t.Context(), `select count(*) from pg_stat_activity
			where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`)
		if err := row.Scan(&n); err != nil { // a server process ends a little after its connection
			b.t.Fatal(err)
		}
	}
	if n > 0 {
		b.t.Errorf("%d connections are left behind", n)
	}
}
