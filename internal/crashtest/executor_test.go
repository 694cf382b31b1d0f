package crashtest_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/internal/proxy"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
	"github.com/posthorn/posthorn/worker"
)

// executorEnv makes the test binary an executor of operations on the store that it names.
const executorEnv = "POSTHORN_CRASHTEST_EXECUTOR"

// deadLetters is the size of the test; the long form takes the flag.
var deadLetters = flag.Int("letters", 400, "dead letters of one operation")

// execute is the life of an executor process, until it is killed.
func execute(dsn string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := open.Store(ctx, dsn, store.Options{})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	e := failure.NewExecutor(s, failure.ExecutorOptions{
		Name: fmt.Sprint(os.Getpid()), Lease: 100 * time.Millisecond, Poll: 10 * time.Millisecond, Share: 1,
	})
	return errors.Join(e.Run(ctx), s.Close())
}

// spawn starts an executor, and kills it after a while.
func spawn(t *testing.T, dsn string, after time.Duration) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), executorEnv+"="+dsn)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("the executor did not start: %v", err)
	}
	time.Sleep(after)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// mourn makes dead letters of so many plans, by copies of one that died.
func mourn(t *testing.T, s *store.Store, n int) {
	t.Helper()
	d, err := posthorn.NewDispatcher(s, posthorn.DispatcherOptions{Queue: "q"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Dispatch(t.Context(), planTx{plan{N: -1, Fate: "reject"}}); err != nil {
		t.Fatal(err)
	}
	stop := serve(t, s)
	waitUntilEmpty(t, s)
	stop()
	for i := range n {
		fate := "done"
		if i%40 == 7 {
			fate = "reject"
		}
		stmt := fmt.Sprintf(`insert into posthorn_letter (id, kind, queue, priority, attempt, deliveries, crashes, sent_at,
			died_at, reason, class, error, body) select 'n%d', kind, queue, 0, 0, 1, 0, sent_at, died_at, reason, class, error,
			%s from posthorn_letter order by seq limit 1`, i, placeholders(s, "?"))
		if _, err := s.DB().Exec(stmt, fmt.Appendf(nil, `{"N":%d,"Fate":"%s"}`, i, fate)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.DB().Exec("delete from posthorn_letter where id not like 'n%'"); err != nil {
		t.Fatal(err)
	}
}

// serve runs a worker whose effects leave a row each, until it is stopped.
func serve(t *testing.T, s *store.Store) (stop func()) {
	t.Helper()
	insert := placeholders(s, "insert into effect (n, at) values (?, ?)")
	mux := posthorn.NewMux()
	posthorn.HandleTx(mux, func(ctx context.Context, tx *posthorn.Tx, p planTx) error { return p.effect(ctx, tx, insert) })
	w, err := worker.New(s, mux, worker.Options{Queues: []string{"q"}, Concurrency: 8})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// Executors are killed while they put letters back, and operators change some of them at
// the same time.
func TestKilledExecutorsLoseNoLetterAndSendNoneTwice(t *testing.T) {
	for name, dsn := range stores() {
		if name == "MariaDB" {
			continue // its executors are cut off below; a start costs seconds
		}
		t.Run(name, func(t *testing.T) { killExecutors(t, dsn(t)) })
	}
}

func killExecutors(t *testing.T, dsn string) {
	s := morgue(t, dsn)
	defer serve(t, s)()
	rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 3))
	kills, idle, longest := 0, 0, 65*time.Millisecond
	o := begin(t, s)
	for ; !o.Ends(); kills++ {
		spawn(t, dsn, 5*time.Millisecond+rand.N(longest))
		meddle(t, s, rnd)
		was := o
		// On a machine that is too slow for a step in that time, lives grow longer.
		if o = read(t, s, o.ID); o.State != was.State || o.Left() != was.Left() || o.Flying != was.Flying {
			idle = 0
		} else if idle++; idle >= 10 && longest < time.Second {
			idle, longest = 0, 2*longest
		}
	}
	t.Logf("%d executors were killed, the last within %s", kills, longest)
	judge(t, s, o)
}

// An executor's commits are cut on both sides, and it is never told which.
func TestAnExecutorWhoseCommitsAreCutLosesNoLetterAndSendsNoneTwice(t *testing.T) {
	for name, dsn := range stores() {
		if name == "SQLite" {
			continue // no network
		}
		t.Run(name, func(t *testing.T) {
			where := dsn(t)
			s := morgue(t, where)
			link, through := tapped(t, where)
			cut := opened(t, through)
			defer serve(t, s)()
			o := begin(t, s)
			e := failure.NewExecutor(cut, failure.ExecutorOptions{Name: "cut", Poll: 10 * time.Millisecond, Share: 1})
			ctx, stop := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { _ = e.Run(ctx) })
			rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 4))
			for i := 0; !o.Ends(); i++ {
				link.CutCommits(proxy.CommitCut{Side: []proxy.Side{proxy.Before, proxy.After}[i%2], Nth: 1 + rnd.IntN(4)})
				time.Sleep(30 * time.Millisecond)
				meddle(t, s, rnd)
				o = read(t, s, o.ID)
			}
			link.CutCommits(proxy.CommitCut{})
			stop()
			wg.Wait()
			judge(t, s, o)
		})
	}
}

// morgue is a store with many dead letters and a table of effects.
func morgue(t *testing.T, dsn string) *store.Store {
	t.Helper()
	s := opened(t, dsn)
	if _, err := s.DB().Exec("create table effect (n integer not null, at bigint not null)"); err != nil {
		t.Fatal(err)
	}
	mourn(t, s, *deadLetters)
	return s
}

// begin starts an operation that takes long enough to be hit.
func begin(t *testing.T, s *store.Store) store.Operation {
	t.Helper()
	o, err := s.StartOperation(t.Context(), store.Operation{Action: store.ActionRetry, Rate: float64(*deadLetters)})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func read(t *testing.T, s *store.Store, id string) store.Operation {
	t.Helper()
	o, err := s.Operation(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// meddle retries some letters by hand and removes some, wherever they are by now.
func meddle(t *testing.T, s *store.Store, rnd *rand.Rand) {
	t.Helper()
	ls, err := s.Letters(t.Context(), store.LetterFilter{IDs: []string{
		fmt.Sprint("n", rnd.IntN(*deadLetters)), fmt.Sprint("n", rnd.IntN(*deadLetters)),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range ls {
		change := s.RetryLetters
		if i%2 == 1 {
			change = s.RemoveLetters
		}
		_, _ = change(t.Context(), l.Seq) // somebody else may have been faster
	}
}

// judge counts what became of each letter.
func judge(t *testing.T, s *store.Store, o store.Operation) {
	t.Helper()
	waitUntilEmpty(t, s)
	ends := map[string]int{}
	for _, stmt := range []string{"select n, count(*) from effect group by n",
		"select substr(id, 2), count(*) from posthorn_letter group by id"} {
		rows, err := s.DB().Query(stmt)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var id string
			var n int
			if err := rows.Scan(&id, &n); err != nil {
				t.Fatal(err)
			}
			ends[id] += n
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
	}
	for i := range *deadLetters {
		if n := ends[fmt.Sprint(i)]; n != 1 {
			t.Errorf("letter %d has %d ends", i, n)
		}
	}
	if o.State != store.OperationDone || o.Left() != 0 || o.Done+o.Failed+o.Gone+o.Refused != o.Total || o.Failed == 0 {
		t.Errorf("the operation says %+v", o)
	}
}

// tapped is a way to a store on which commits can be cut.
func tapped(t *testing.T, dsn string) (*proxy.Proxy, string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	protocol := proxy.MySQL
	if u.Scheme != "mysql" {
		protocol = proxy.PostgreSQL
	}
	link := proxy.New(t, protocol, u.Host)
	u.Host = link.Addr()
	return link, u.String()
}
