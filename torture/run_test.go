package torture_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/posthorn/posthorn/internal/failpoint"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/torture"
	"github.com/posthorn/posthorn/torture/oracle"
	"github.com/posthorn/posthorn/transport/open"
)

// processArg makes the test binary a process of a run.
const processArg = "torture-process"

// servers are private to this test process.
var servers = testserver.Shared{Options: testserver.Options{InMemory: true}}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == processArg {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		p := torture.Process{Open: open.Store, In: os.Stdin, Out: os.Stdout, Log: os.Stderr,
			Command: []string{os.Args[0], processArg}, Environ: os.Environ()}
		if err := p.Run(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(servers.Main(m))
}

// options are those of a short run. What it asks of S12 is only that work goes on: a
// test asserts no time.
func options(t *testing.T) torture.Options {
	return torture.Options{
		Open: open.Store, Command: []string{os.Args[0], processArg}, Time: 8 * time.Second, Messages: 3000,
		Seed: 1, Resume: 2 * time.Minute, Progress: t.Output(), Dir: t.TempDir(),
	}
}

// run runs, and wants every promise held for which the run has evidence. On a busy machine a
// short one may end before anything has died that an operation could put back, or before the
// first fault's turn has come.
func run(t *testing.T, o torture.Options) *torture.Report {
	t.Helper()
	r, err := torture.Run(t.Context(), o)
	if err == nil && r.Held() && (r.Operations.Retried == 0 && r.Messages.Dead > 0 || len(r.Steps) == 0) {
		t.Logf("put back %d, faults %d, in %s: another try, of a minute", r.Operations.Retried, len(r.Steps), o.Time)
		o.Time, o.Messages, o.Dir = time.Minute, 0, t.TempDir()
		r, err = torture.Run(t.Context(), o)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		t.Errorf("broken: %v", f)
	}
	if !r.Held() || r.Messages.Accepted == 0 || r.Messages.Effects == 0 || len(r.Steps) == 0 {
		t.Errorf("held %v, %+v, %d faults", r.Held(), r.Messages, len(r.Steps))
	}
	for _, id := range []string{"S1", "S7", "S9", "S11", "S12"} {
		i := slices.IndexFunc(r.Promises, func(p torture.Promise) bool { return p.ID == id })
		if r.Promises[i].Verdict != torture.Held {
			t.Errorf("%+v", r.Promises[i])
		}
	}
	if o := r.Operations; o.Made == 0 || o.Retried == 0 && r.Messages.Dead > 0 || o.Retried != o.Done+o.Again {
		t.Errorf("operations: %+v", o)
	}
	if r.Host.Server == "" || r.Host.Time.IsZero() {
		t.Errorf("the run does not say where it was: %+v", r.Host)
	}
	t.Logf("%+v; %+v; %+v; %+v", r.Messages, r.Operations, r.Crew, r.Faults)
	return r
}

func TestARunOnSQLiteHoldsAndLeavesNothing(t *testing.T) {
	t.Parallel() // as all runs: most of their time they wait for what must come back by itself
	o, dir := options(t), t.TempDir()
	o.Store = "sqlite:" + filepath.Join(dir, "mine.db")
	if r := run(t, o); !failpoint.On && !skipped(r, torture.DieAtPoint) {
		t.Errorf("a build without points does not say that none dies at them: %+v", r.Skipped)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left beside the store: %v, %v", left, err)
	}
	if _, err := os.Stat(o.Dir); !os.IsNotExist(err) {
		t.Errorf("the ledgers of a run that held are there: %v", err)
	}
}

func TestARunOnASharedServerTouchesNothingButItsScratch(t *testing.T) {
	for name, c := range map[string]struct {
		database func(testserver.Test) *testserver.Database
		store    func(*testserver.Database) string
		look     string // → all that a run could leave
	}{
		"PostgreSQL": {servers.PostgreSQL, (*testserver.Database).DSN,
			`select string_agg(nspname || '.' || coalesce(relname, ''), ' ' order by nspname, relname)
			from pg_namespace n left join pg_class c on c.relnamespace = n.oid
			where nspname not like 'pg%' and nspname <> 'information_schema'`},
		"MariaDB": {servers.MariaDB, func(d *testserver.Database) string {
			return fmt.Sprintf("mysql://%s@%s/%s", d.Server.Superuser(), d.Server.Addr(), d.Name)
		}, `select group_concat(table_schema, '.', table_name order by 1) from information_schema.tables
			where table_schema not in ('information_schema', 'mysql', 'performance_schema', 'sys')`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := c.database(t)
			db := d.Open(t)
			exec(t, db, "create table mine (id integer)")
			exec(t, db, "insert into mine values (1)")
			before := look(t, db, c.look)
			o := options(t)
			o.Store = c.store(d)
			r := run(t, o)
			if after := look(t, db, c.look); after != before {
				t.Errorf("there was %s, and there is %s", before, after)
			}
			if r.Private || !skipped(r, torture.KillServer) || !skipped(r, torture.ReadOnly) {
				t.Errorf("a run harms a server that is not its own: skipped is %+v", r.Skipped)
			}
		})
	}
}

func skipped(r *torture.Report, f torture.Fault) bool {
	return slices.ContainsFunc(r.Skipped, func(s torture.Skipped) bool { return s.Fault == f && s.Reason != "" })
}

func exec(t *testing.T, db *sql.DB, stmt string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), stmt); err != nil {
		t.Fatal(err)
	}
}

func look(t *testing.T, db *sql.DB, query string) (found string) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query).Scan(&found); err != nil {
		t.Fatal(err)
	}
	return found
}

func TestARunOnAPrivateServerHarmsIt(t *testing.T) {
	for _, private := range []string{torture.PrivatePostgreSQL, torture.PrivateMariaDB} {
		t.Run(private, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			o.Private, o.Messages, o.Time = private, 0, 10*time.Second
			o.Faults = []torture.Fault{torture.KillServer, torture.CutCommits, torture.KillWorker, torture.BadHandlers}
			r := run(t, o)
			if r.CutBefore+r.CutAfter == 0 { // on a busy machine their turn does not come in so short a time
				t.Logf("no commit was cut in %s: another try, of a minute", o.Time)
				o.Time, o.Dir = time.Minute, t.TempDir()
				r = run(t, o)
			}
			if r.CutBefore+r.CutAfter == 0 || !r.Private {
				t.Errorf("%d and %d commits were cut, private %v", r.CutBefore, r.CutAfter, r.Private)
			}
		})
	}
}

// A run that is told to stop finishes what it began, and judges what there is.
func TestARunThatIsToldToStopJudges(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Store, o.Time, o.Messages = "sqlite:"+filepath.Join(t.TempDir(), "a.db"), time.Hour, 0
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	r, err := torture.Run(ctx, o)
	if err != nil || !r.Held() || r.Messages.Accepted == 0 {
		t.Errorf("report %+v, %v", r, err)
	}
}

func TestARunRefusesWhatItCannotTorture(t *testing.T) {
	o := options(t)
	o.Store = "amqp://h"
	if _, err := torture.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "cannot torture") {
		t.Errorf("run: %v", err)
	}
	if runtime.GOOS == "linux" {
		o = options(t)
		o.Private = "oracle"
		if _, err := torture.Run(t.Context(), o); err == nil {
			t.Error("a server was started that there is not")
		}
	}
}

// The processes that die are found by the report, as well as the messages.
func TestARunWhoseProcessesDieDoesNotHold(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Store, o.Time, o.Command = "sqlite:"+filepath.Join(t.TempDir(), "a.db"), time.Second, []string{"/bin/false"}
	o.Stuck = 3 * time.Second
	r, err := torture.Run(t.Context(), o)
	if err != nil || r.Held() || !slices.ContainsFunc(r.Findings, func(f oracle.Finding) bool {
		return f.Promise == oracle.Resumed && strings.Contains(f.Text, "ended by itself")
	}) {
		t.Errorf("report %+v, %v", r, err)
	}
	if _, err := os.Stat(o.Dir); err != nil || r.Dir != o.Dir {
		t.Errorf("the ledgers of a run that did not hold are gone: %v", err)
	}
}
