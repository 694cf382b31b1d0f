package worker_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
)

// errSome stands for any error.
var errSome = errors.New("some error")

// endless is a query that never ends by itself.
const endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"

// A nasty is one way to misbehave in a transaction. Its effect is inserted
// before do is called.
type nasty struct {
	name    string
	rawOnly bool  // needs Tx.SQL
	grouped bool  // not worth a run of its own with a raw transaction
	slow    bool  // runs into its deadline
	want    error // how the unit must end; nil: it is done, with its effect
	either  bool  // done or failed, as it happens: a write that is cut off rolls the transaction back
	do      func(s *scene, ctx context.Context, tx *posthorn.Tx) error
}

// A scene is one run of a nasty handler.
type scene struct {
	t       *testing.T
	id      string
	release chan struct{}
	strays  sync.WaitGroup
}

func newScene(t *testing.T, id string) *scene {
	return &scene{t: t, id: id, release: make(chan struct{})}
}

// run inserts the effect and misbehaves.
func (s *scene) run(ctx context.Context, tx *posthorn.Tx, c nasty) error {
	if _, err := tx.ExecContext(ctx, "insert into effect values (?)", s.id); err != nil {
		return err
	}
	return c.do(s, ctx, tx)
}

// finish lets stuck handlers return and waits for the strays.
func (s *scene) finish() {
	close(s.release)
	s.strays.Wait()
}

// scenes are the scenes of all the messages of one worker.
type scenes struct {
	t     *testing.T
	cases map[string]nasty
	mu    sync.Mutex
	all   []*scene
}

func newScenes(t *testing.T) *scenes {
	s := &scenes{t: t, cases: map[string]nasty{}}
	for _, c := range corpus() {
		s.cases[c.name] = c
	}
	return s
}

func (s *scenes) run(ctx context.Context, tx *posthorn.Tx, e evil) error {
	d, _ := posthorn.DeliveryFrom(ctx)
	sc := newScene(s.t, d.ID)
	s.mu.Lock()
	s.all = append(s.all, sc)
	s.mu.Unlock()
	return sc.run(ctx, tx, s.cases[e.Case])
}

func (s *scenes) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sc := range s.all {
		sc.finish()
	}
}

// says is a handler that runs statements, swallows every error and returns nil.
func says(stmts ...string) func(*scene, context.Context, *posthorn.Tx) error {
	return func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
		for _, stmt := range stmts {
			_, _ = tx.ExecContext(ctx, stmt)
		}
		return nil
	}
}

// corpus is the collection of everything nasty.
func corpus() []nasty {
	all := refusedCases()
	for _, more := range [][]nasty{brokenCases(), allowedCases(), leftOpenCases(), lateCases(), rawCases()} {
		all = append(all, more...)
	}
	return all
}

// refusedCases are statements that the guard refuses, each swallowed.
func refusedCases() []nasty {
	var out []nasty
	for i, stmt := range []string{
		"rollback", "commit", "END", "begin", "Begin Immediate", "-- innocent\n/* very */ COMMIT /* indeed */;",
		"insert into effect values ('ghost'); commit; insert into effect values ('ghost')", "select 1; ROLLBACK",
		"release posthorn_unit", `rollback to "POSTHORN_UNIT"`, "savepoint posthorn_unit", "savepoint a; rollback; select 1",
		"pragma query_only = on", "pragma foreign_keys = off", "pragma synchronous = off", "PRAGMA main.synchronous(0)",
		"pragma journal_mode = delete", "pragma writable_schema = on", "pragma locking_mode = exclusive",
		"pragma temp_store = memory", "pragma recursive_triggers = 1", "pragma case_sensitive_like = 1",
		"pragma busy_timeout = 1", "pragma wal_checkpoint", "pragma ignore_check_constraints = on",
		"attach ':memory:' as other", "detach main", "create temp table posthorn_message (id)",
		"create temp view posthorn_meta as select 1", "create temp table if not exists Posthorn_Message as select 1",
		"create temp table own2 (id); alter table own2 rename to posthorn_message",
		"delete from posthorn_message", "update posthorn_meta set value = ''", "drop table posthorn_attempt",
		"insert into posthorn_document values ('x', 1, '')", "replace into POSTHORN_PAUSE values ('q', '', '', 1, null)",
		"create table posthorn_new (id)", "alter table posthorn_message add column x",
		"create trigger tr after delete on posthorn_message begin select 1; end",
		"create temp trigger tr after delete on posthorn_message begin select 1; end",
		"create index ix on posthorn_message (body)", "drop index posthorn_message_ready",
		"insert into effect values ('ghost'); pragma foreign_keys = 0",
	} {
		out = append(out, nasty{
			name: "refused " + stmt, grouped: i%4 != 0, want: driver.ErrTxRefused, do: says(stmt),
		})
	}
	return append(out,
		nasty{name: "refused in a query", want: driver.ErrTxRefused, do: queryCommit},
		nasty{name: "refused in a prepared statement", want: driver.ErrTxRefused, do: prepareCommit},
		nasty{name: "refused in the tail of a prepared statement", want: driver.ErrTxRefused,
			do: prepareTail},
	)
}

func queryCommit(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
	rows, err := tx.QueryContext(ctx, "commit")
	if err == nil {
		return errors.Join(rows.Err(), rows.Close())
	}
	if err := tx.QueryRowContext(ctx, "rollback").Scan(new(int)); !errors.Is(err, driver.ErrTxRefused) {
		return fmt.Errorf("row's error is %w", err)
	}
	return nil
}

func prepareCommit(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
	if stmt, err := tx.PrepareContext(ctx, "commit"); err == nil {
		_, _ = stmt.ExecContext(ctx)
	}
	return nil
}

func prepareTail(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
	if stmt, err := tx.PrepareContext(ctx, "insert into effect values ('ghost'); commit"); err == nil {
		_, _ = stmt.ExecContext(ctx)
	}
	return nil
}

// brokenCases end the transaction or fail in other ways.
func brokenCases() []nasty {
	return []nasty{
		{name: "error after a write", want: errBoo,
			do: func(*scene, context.Context, *posthorn.Tx) error { return errBoo }},
		{name: "panic", want: errSome,
			do: func(*scene, context.Context, *posthorn.Tx) error { panic("nasty") }},
		{name: "goexit", want: errSome,
			do: func(*scene, context.Context, *posthorn.Tx) error { runtime.Goexit(); return nil }},
		{name: "panic with rows open", want: errSome,
			do: func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
				rows, err := tx.QueryContext(ctx, "select * from posthorn_message")
				panic(fmt.Sprint(rows.Next(), err))
			}},
		{name: "insert or rollback", want: errSome, do: says("insert or rollback into sole values (1)")},
		{name: "insert or rollback, then more writes", want: errSome, do: says(
			"insert or rollback into sole values (1)", "insert into effect values ('ghost')", "create table gone (a)")},
		{name: "raise rollback in a trigger, then more writes", want: errSome, do: says(
			"insert into fuse values (1)", "insert into effect values ('ghost')")},
		{name: "insert or rollback, then dispatch", want: errSome,
			do: func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
				_, _ = tx.ExecContext(ctx, "insert or rollback into sole values (1)")
				_, _ = tx.Dispatch(ctx, good{}, posthorn.WithID("never"))
				return nil
			}},
		{name: "deferred constraint broken at commit", want: errSome,
			do: says("insert into child values (99)")},
		{name: "constraint deferred and broken", want: errSome, do: says(
			"pragma defer_foreign_keys = on", "insert into strict_child values (99)")},
		{name: "ddl and an error", want: errBoo,
			do: func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
				_, err := tx.ExecContext(ctx, "create table gone (a); alter table sole add column b; drop table stray")
				return errors.Join(errBoo, err)
			}},
		{name: "write interrupted by a context of its own", want: errSome, either: true,
			do: func(_ *scene, _ context.Context, tx *posthorn.Tx) error {
				own, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
				defer cancel()
				_, _ = tx.ExecContext(own, "insert into stray "+endless)
				return nil
			}},
	}
}

// allowedCases look nasty and are not: they are done.
func allowedCases() []nasty {
	return []nasty{
		{name: "sql error swallowed",
			do: says("insert into nowhere values (1)", "selec", "insert into sole values (1)")},
		{name: "constraint error swallowed", do: says("insert into strict_child values (77)")},
		{name: "savepoints of its own",
			do: says("savepoint a", "delete from effect", "rollback to a", "release a")},
		{name: "savepoint left open",
			do: says("savepoint a", "savepoint b", "insert into stray values ('x')")},
		{name: "temporary table", do: says("create temp table own (id)", "insert into own values (1)")},
		{name: "temporary objects",
			do: says("create temp view v as select 1", "create temp trigger g after insert on stray begin "+
				"delete from effect; end")},
		{name: "ddl",
			do: says("create table own (a)", "create index own_a on own (a)", "alter table own add column b")},
		{name: "constraint deferred", do: says("pragma defer_foreign_keys = on")},
		{name: "query interrupted by a context of its own",
			do: func(_ *scene, _ context.Context, tx *posthorn.Tx) error {
				own, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
				defer cancel()
				if err := tx.QueryRowContext(own, endless).Scan(new(int)); err == nil {
					return errBoo
				}
				return nil
			}},
		{name: "no raw transaction unless it was asked for",
			do: func(s *scene, ctx context.Context, tx *posthorn.Tx) error {
				d, _ := posthorn.DeliveryFrom(ctx)
				if raw := tx.SQL(); raw != nil && d.Kind == "evil_tx" {
					return errBoo
				}
				return nil
			}},
	}
}

// leftOpenCases leave something open; all are done.
func leftOpenCases() []nasty {
	return []nasty{
		{name: "rows left open", do: func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
			rows, err := tx.QueryContext(ctx, "select * from posthorn_message, effect")
			if err == nil {
				rows.Next()
			}
			return err
		}},
		{name: "rows left open with a context of its own",
			do: func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
				own, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Hour)
				context.AfterFunc(ctx, cancel)
				_, err := tx.QueryContext(own, "select * from effect")
				return err
			}},
		{name: "row never scanned", do: func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
			return tx.QueryRowContext(ctx, "select * from posthorn_message, effect").Err()
		}},
		{name: "row never scanned with a context of its own",
			do: func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
				own, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Hour)
				context.AfterFunc(ctx, cancel)
				return tx.QueryRowContext(own, "select * from effect").Err()
			}},
		{name: "prepared statement left open",
			do: func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
				stmt, err := tx.PrepareContext(ctx, "select * from posthorn_message")
				if err != nil {
					return err
				}
				rows, err := stmt.QueryContext(ctx)
				if err == nil {
					rows.Next()
				}
				return err
			}},
		{name: "huge result half read", do: func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
			rows, err := tx.QueryContext(ctx, "with recursive n(i) as (select 1 union all select i + 1 from n) select i from n")
			for range 1000 {
				err = errors.Join(err, nextRow(rows))
			}
			return err
		}},
		{name: "goroutine outlives it", either: true, do: outlive},
		{name: "goroutine with a prepared statement outlives it", either: true, do: outliveStmt},
	}
}

func nextRow(rows *sql.Rows) error {
	if !rows.Next() {
		return rows.Err()
	}
	return rows.Scan(new(int))
}

// outlive starts a goroutine that writes until it is told that its transaction
// is over.
func outlive(s *scene, ctx context.Context, tx *posthorn.Tx) error {
	first := make(chan struct{})
	s.strays.Go(func() {
		var once sync.Once
		deadline := time.Now().Add(patience)
		for time.Now().Before(deadline) {
			_, err := tx.ExecContext(context.WithoutCancel(ctx), "insert into stray values (?)", s.id)
			once.Do(func() { close(first) })
			if errors.Is(err, driver.ErrTxDone) {
				return
			}
		}
		s.t.Error("a goroutine that outlived its handler was never told")
	})
	<-first
	return nil
}

// outliveStmt does it with a prepared statement, which database/sql closes.
func outliveStmt(s *scene, ctx context.Context, tx *posthorn.Tx) error {
	stmt, err := tx.PrepareContext(ctx, "insert into stray values (?)")
	if err != nil {
		return err
	}
	first := make(chan struct{})
	s.strays.Go(func() {
		_, err := stmt.ExecContext(context.Background(), s.id)
		close(first)
		deadline := time.Now().Add(patience)
		for err == nil && time.Now().Before(deadline) {
			_, err = stmt.ExecContext(context.Background(), s.id)
		}
		if err == nil {
			s.t.Error("a goroutine that outlived its handler was never told")
		}
	})
	<-first
	return nil
}

// lateCases run beyond their deadline.
func lateCases() []nasty {
	return []nasty{
		{name: "late: context ignored", slow: true, want: driver.ErrTimeout,
			do: func(s *scene, _ context.Context, tx *posthorn.Tx) error {
				<-s.release
				if _, err := tx.ExecContext(context.Background(), "insert into stray values ('x')"); err == nil {
					s.t.Error("a handler that was left behind could still write")
				}
				return nil
			}},
		{name: "late: writes after its deadline", slow: true, want: driver.ErrTimeout, do: waitAndWrite},
		{name: "late: endless query", slow: true, want: errSome,
			do: func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
				return tx.QueryRowContext(ctx, endless).Scan(new(int))
			}},
		{name: "late: endless query with no context", slow: true, want: errSome,
			do: func(_ *scene, _ context.Context, tx *posthorn.Tx) error {
				return tx.QueryRowContext(context.Background(), endless).Scan(new(int))
			}},
		{name: "late: endless rows with a context of its own", slow: true, want: errSome,
			do: func(_ *scene, _ context.Context, tx *posthorn.Tx) error {
				own, cancel := context.WithTimeout(context.Background(), time.Hour)
				defer cancel()
				_, err := tx.QueryContext(own, endless)
				return err
			}},
		{name: "late: endless write", slow: true, want: errSome,
			do: func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
				_, err := tx.ExecContext(ctx, "insert into stray "+endless)
				return err
			}},
	}
}

// waitAndWrite cannot write any more once its context has ended.
func waitAndWrite(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
	<-ctx.Done()
	_, err := tx.ExecContext(context.Background(), "insert into stray values ('x')")
	return err
}

// rawCases use the raw transaction.
func rawCases() []nasty {
	withSQL := func(fn func(tx *sql.Tx) error) func(*scene, context.Context, *posthorn.Tx) error {
		return func(_ *scene, _ context.Context, tx *posthorn.Tx) error { return fn(tx.SQL()) }
	}
	return []nasty{
		{name: "raw: Commit", rawOnly: true, want: errSome,
			do: withSQL(func(tx *sql.Tx) error { _ = tx.Commit(); return nil })},
		{name: "raw: Rollback", rawOnly: true, want: errSome,
			do: withSQL(func(tx *sql.Tx) error { _ = tx.Rollback(); return nil })},
		{name: "raw: Commit, its error returned", rawOnly: true, want: errSome,
			do: withSQL((*sql.Tx).Commit)},
		{name: "raw: commit as a statement", rawOnly: true, want: driver.ErrTxRefused,
			do: withSQL(func(tx *sql.Tx) error {
				_, _ = tx.Exec("insert into stray values ('x'); commit")
				return nil
			})},
		{name: "raw: pragma", rawOnly: true, want: driver.ErrTxRefused, do: withSQL(func(tx *sql.Tx) error {
			_, _ = tx.Exec("pragma foreign_keys = off")
			return nil
		})},
		{name: "raw: insert or rollback, then more writes", rawOnly: true, want: errSome,
			do: withSQL(func(tx *sql.Tx) error {
				_, _ = tx.Exec("insert or rollback into sole values (1)")
				_, _ = tx.Exec("insert into effect values ('ghost')")
				return nil
			})},
		{name: "raw: rows, a row and a statement left open", rawOnly: true,
			do: withSQL(func(tx *sql.Tx) error {
				rows, err := tx.Query("select * from posthorn_message, effect")
				stmt, err2 := tx.Prepare("select 1")
				return errors.Join(err, err2, nextRow2(rows), tx.QueryRow("select 1").Err(), stmt.QueryRow().Err())
			})},
		{name: "raw: temporary table", rawOnly: true, do: withSQL(func(tx *sql.Tx) error {
			_, err := tx.Exec("create temp table own (a)")
			return err
		})},
		{name: "raw: panic", rawOnly: true, want: errSome, do: withSQL(func(*sql.Tx) error { panic("raw") })},
	}
}

func nextRow2(rows *sql.Rows) error {
	rows.Next()
	return rows.Err()
}
