package crashtest_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/internal/witness"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
	"github.com/posthorn/posthorn/worker"
)

// childEnv makes the test binary a worker on the store that it names.
const childEnv = "POSTHORN_CRASHTEST_STORE"

// The size of the test; make kills is its long form.
var (
	messages = flag.Int("messages", 6_000, "messages to handle")
	kills    = flag.Int("kills", 35, "worker processes to kill")
	seed     = flag.Uint64("seed", 0, "of the kills; 0 picks one")
)

// plan is a message whose handler does what Fate says.
type plan struct {
	N    int
	Fate string // done, fail_once, reject
	Slow time.Duration

	Secret witness.Hidden `json:"secret"`
}

// Kind of a plan that is handled in two parts.
func (plan) Kind() string { return "plan" }

// planTx is a plan that is handled in one transaction.
type planTx struct{ plan }

// Kind of a plan that is handled in one transaction.
func (planTx) Kind() string { return "plan_tx" }

// servers are private to this test process.
var servers = testserver.Shared{Options: testserver.Options{InMemory: true}}

func TestMain(m *testing.M) {
	is, err := played()
	if dsn := os.Getenv(childEnv); dsn != "" {
		is, err = true, work(dsn)
	}
	if dsn := os.Getenv(executorEnv); dsn != "" {
		is, err = true, execute(dsn)
	}
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	case is:
		os.Exit(0)
	}
	bound(map[string]string{"rapid.checks": "10", "rapid.shrinktime": "1s"})
	os.Exit(servers.Main(m).Run())
}

// bound sets flags that were not given.
func bound(values map[string]string) {
	flag.Parse()
	flag.Visit(func(f *flag.Flag) { delete(values, f.Name) })
	for name, value := range values {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
}

// work is the life of a worker process, until it is killed or told to stop.
func work(dsn string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := open.Store(ctx, dsn, store.Options{})
	if err != nil {
		return err
	}
	insert := placeholders(s, "insert into effect (n, at) values (?, ?)")
	mux := posthorn.NewMux()
	posthorn.HandleTx(mux, func(ctx context.Context, tx *posthorn.Tx, p planTx) error { return p.effect(ctx, tx, insert) })
	posthorn.HandleEffect(mux, func(_ context.Context, p plan) (posthorn.Effect, error) {
		time.Sleep(p.Slow)
		return func(ctx context.Context, tx *posthorn.Tx) error { return p.effect(ctx, tx, insert) }, nil
	})
	w, err := worker.New(s, mux, worker.Options{
		Lease: 2 * time.Second, Heartbeat: time.Second,
		Retry: posthorn.RetryPolicy{Delay: 50 * time.Millisecond},
	})
	if err != nil {
		return err
	}
	fmt.Println(w.ID())
	return errors.Join(w.Run(ctx), s.Close())
}

// effect writes the row that must exist once, and then fails if it is to.
func (p plan) effect(ctx context.Context, tx *posthorn.Tx, insert string) error {
	if _, err := tx.ExecContext(ctx, insert, p.N, time.Now().UnixMilli()); err != nil {
		return err
	}
	d, _ := posthorn.DeliveryFrom(ctx)
	switch {
	case p.Fate == "reject":
		return posthorn.Reject(errors.New("as planned"))
	case p.Fate == "fail_once" && d.Attempt == 0:
		return errors.New("as planned, once")
	}
	return nil
}

// placeholders writes a statement's parameters as the store's database wants.
func placeholders(s *store.Store, stmt string) string {
	if s.Dialect() != "postgres" {
		return stmt
	}
	for n := 1; strings.Contains(stmt, "?"); n++ {
		stmt = strings.Replace(stmt, "?", fmt.Sprintf("$%d", n), 1)
	}
	return stmt
}

// fleet is the set of worker processes.
type fleet struct {
	t     *testing.T
	dsn   string
	store *store.Store
	all   []*process
	held  int64 // messages that were in hand of killed processes, as far as told
}

// process is one worker process.
type process struct {
	cmd *exec.Cmd
	id  string
	out io.ReadCloser
}

func (f *fleet) start() {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+f.dsn)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		f.t.Fatalf("worker did not start: %v", err)
	}
	f.all = append(f.all, &process{cmd: cmd, id: strings.TrimSpace(line), out: out})
}

// kill kills one process at random and starts another. Every second time it
// tells the store that the process is dead, as a supervisor does; else the
// lease has to run out.
func (f *fleet) kill(rnd *rand.Rand, tell bool) {
	i := rnd.IntN(len(f.all))
	p := f.all[i]
	f.all = append(f.all[:i], f.all[i+1:]...)
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	if tell {
		toll, err := f.store.ReleaseDead(f.t.Context(), driver.Death{Worker: p.id})
		if err != nil {
			f.t.Error(err)
		}
		f.held += int64(toll.Released)
	}
	f.start()
}

func (f *fleet) stop() {
	for _, p := range f.all {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, p := range f.all {
		if err := p.cmd.Wait(); err != nil {
			f.t.Errorf("worker %s did not end well: %v", p.id, err)
		}
	}
}

func TestKilledWorkersLoseAndDoubleNothing(t *testing.T) {
	for name, dsn := range places() {
		t.Run(name, func(t *testing.T) { killing(t, dsn(t)) })
	}
}

// onSQLite is the place that needs no server.
const onSQLite = "on SQLite"

// places are the stores by name; each gives the address of an empty one.
func places() map[string]func(t *testing.T) string {
	return map[string]func(t *testing.T) string{
		onSQLite:        func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "store.db") },
		"on PostgreSQL": func(t *testing.T) string { return servers.PostgreSQL(t).DSN() },
		"on MariaDB": func(t *testing.T) string {
			d := servers.MariaDB(t)
			return fmt.Sprintf("mysql://%s@%s/%s", d.Server.Superuser(), d.Server.Addr(), d.Name)
		},
	}
}

// killing produces, kills and counts on one store.
func killing(t *testing.T, dsn string) {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", *seed)
	rnd := rand.New(rand.NewPCG(*seed, 1))
	s, err := open.Store(t.Context(), dsn, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := s.DB().Exec("create table effect (n integer not null, at bigint not null)"); err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, dsn: dsn, store: s}
	for range 3 {
		f.start()
	}
	var producer sync.WaitGroup
	var accepted map[int]string
	producer.Go(func() { accepted = produce(t, s, rand.New(rand.NewPCG(*seed, 2))) })
	for i := range *kills {
		time.Sleep(time.Duration(20+rnd.IntN(150)) * time.Millisecond)
		f.kill(rnd, i%2 == 0)
	}
	producer.Wait()
	waitUntilEmpty(t, s)
	f.stop()
	t.Logf("killed %d processes; those that were released held %d messages", *kills, f.held)
	if f.held == 0 {
		t.Error("no kill hit a message in hand: the test shows nothing")
	}
	check(t, s, accepted)
}

// produce sends messages while workers die. It returns the fate of each that
// was accepted.
func produce(t *testing.T, s *store.Store, rnd *rand.Rand) map[int]string {
	d, err := posthorn.NewDispatcher(s, posthorn.DispatcherOptions{})
	if err != nil {
		t.Error(err)
		return nil
	}
	accepted := map[int]string{}
	for n := 0; n < *messages; {
		batch := make([]posthorn.Message, 0, 100)
		fates := map[int]string{}
		for range min(100, *messages-n) {
			p := plan{N: n, Fate: pick(rnd), Slow: time.Duration(rnd.IntN(3)) * time.Millisecond}
			fates[n] = p.Fate
			n++
			if n%2 == 0 {
				batch = append(batch, p)
			} else {
				batch = append(batch, planTx{p})
			}
		}
		if err := dispatch(t, d, batch); err != nil {
			t.Errorf("dispatch: %v", err)
			return accepted
		}
		maps.Copy(accepted, fates)
		time.Sleep(time.Duration(rnd.IntN(60)) * time.Millisecond)
	}
	return accepted
}

// dispatch sends a batch, again when it was certainly not accepted: on a
// machine that is very busy, SQLite's lock may not be had in time.
func dispatch(t *testing.T, d *posthorn.Dispatcher, batch []posthorn.Message) error {
	for {
		_, err := d.DispatchMany(t.Context(), batch)
		if !errors.Is(err, driver.ErrUnavailable) || errors.Is(err, driver.ErrOutcomeUnknown) {
			return err
		}
	}
}

func pick(rnd *rand.Rand) string {
	switch n := rnd.IntN(100); {
	case n < 2:
		return "reject"
	case n < 7:
		return "fail_once"
	}
	return "done"
}

// waitUntilEmpty waits until no message is live. It is bounded by the leases
// and retries that may be left.
func waitUntilEmpty(t *testing.T, s *store.Store) {
	deadline := time.Now().Add(2 * time.Minute)
	for time.Now().Before(deadline) {
		stats, err := s.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		live := int64(0)
		for _, q := range stats {
			live += q.Ready + q.Delayed + q.InFlight + q.Suspects
		}
		if live == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("messages are left that nobody handles")
}

// check counts effects and dead letters from the tables.
func check(t *testing.T, s *store.Store, accepted map[int]string) {
	effects := map[int]int{}
	rows, err := s.DB().Query("select n, count(*) from effect group by n")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var n, count int
		if err := rows.Scan(&n, &count); err != nil {
			t.Fatal(err)
		}
		effects[n] = count
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	dead, byReason := letters(t, s)
	lost, doubled, both := 0, 0, 0
	for n := range accepted {
		switch {
		case effects[n] == 0 && !dead[n]:
			lost++
		case effects[n] > 1:
			doubled++
		case effects[n] == 1 && dead[n]:
			both++
		}
		if accepted[n] == "reject" && !dead[n] {
			t.Errorf("message %d was to be rejected and is no dead letter", n)
		}
	}
	t.Logf("accepted %d, done %d, dead %v, lost %d, doubled %d", len(accepted), len(effects), byReason, lost, doubled)
	if lost != 0 || doubled != 0 || both != 0 || len(effects)+len(dead) != len(accepted) || len(accepted) != *messages {
		t.Errorf("lost %d, doubled %d, done and dead %d", lost, doubled, both)
	}
}

// letters are the dead letters by the number in their bodies.
func letters(t *testing.T, s *store.Store) (map[int]bool, map[string]int) {
	dead, byReason, past := map[int]bool{}, map[string]int{}, int64(0)
	for {
		ls, err := s.Letters(t.Context(), store.LetterFilter{Past: past, Limit: 500})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range ls {
			var n int
			if _, err := fmt.Sscanf(string(l.Body), `{"N":%d,`, &n); err != nil {
				t.Fatalf("letter %s: %v: %s", l.ID, err, l.Body)
			}
			if dead[n] {
				t.Errorf("message %d is dead twice", n)
			}
			dead[n] = true
			byReason[l.Reason]++
			past = l.Seq
			if l.Reason != driver.ReasonRejected && l.Reason != driver.ReasonCrashed {
				t.Errorf("message %d died of %s: %s", n, l.Reason, l.Error)
			}
		}
		if len(ls) == 0 {
			return dead, byReason
		}
	}
}
