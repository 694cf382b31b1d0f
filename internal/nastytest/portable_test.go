package nastytest_test

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/witness"
)

// A note is a message that nasty handlers send.
type note struct {
	Secret witness.Hidden `json:"secret"`
}

// Kind names it.
func (note) Kind() string { return "note" }

// anyCases are nasty on any server.
func anyCases(k kind) []nasty {
	out := []nasty{
		{name: "error after a write", want: errBoo,
			do: func(*scene, context.Context, *posthorn.Tx) error { return errBoo }},
		{name: "panic", want: errSome, do: func(*scene, context.Context, *posthorn.Tx) error { panic("nasty") }},
		{name: "goexit", want: errSome,
			do: func(*scene, context.Context, *posthorn.Tx) error { runtime.Goexit(); return nil }},
		{name: "panic with rows open", want: errSome, after: either,
			do: func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
				rows, err := tx.QueryContext(ctx, k.many)
				panic([]any{rows.Next(), err})
			}},
		{name: "dispatch, then an error", want: errBoo,
			do: func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
				_, err := tx.Dispatch(ctx, note{}, posthorn.WithID("never"))
				return errors.Join(errBoo, err)
			}},
		{name: "no raw transaction unless it was asked for",
			do: func(s *scene, _ context.Context, tx *posthorn.Tx) error {
				if (tx.SQL() != nil) != s.alone {
					return errBoo
				}
				return nil
			}},
		{name: "savepoints of its own",
			do: runs("savepoint a", "delete from effect", "rollback to savepoint a", "release savepoint a")},
		{name: "savepoint left open", do: runs("savepoint a", "savepoint b", k.stray)},
		{name: "the connection kills itself", want: errSome, once: true, after: dirty, do: says(k.kill)},
		{name: "a context of its own ends in a statement", want: errSome, after: either,
			do: func(_ *scene, _ context.Context, tx *posthorn.Tx) error {
				own, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
				defer cancel()
				_, err := tx.ExecContext(own, k.sleep)
				return err
			}},
		{name: "a context of its own ends in a statement, and it says nothing", want: errSome, after: either,
			do: func(_ *scene, _ context.Context, tx *posthorn.Tx) error {
				own, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
				defer cancel()
				_, _ = tx.ExecContext(own, k.sleep)
				return nil
			}},
		{name: "late in a statement", slow: true, want: errSome, after: either, do: runs(k.sleep)},
		{name: "late in a statement with no context", slow: true, want: errSome, after: either,
			do: func(_ *scene, _ context.Context, tx *posthorn.Tx) error {
				_, err := tx.ExecContext(context.Background(), k.sleep)
				return err
			}},
		{name: "late, then writes", slow: true, chance: true, after: either,
			do: func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
				<-ctx.Done()
				_, err := tx.ExecContext(context.Background(), k.stray)
				return err
			}},
	}
	return append(append(out, openCases(k)...), rawCases(k)...)
}

// openCases leave something open.
func openCases(k kind) []nasty {
	return []nasty{
		{name: "rows left open", after: either, do: func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
			rows, err := tx.QueryContext(ctx, k.many)
			if err == nil && !rows.Next() {
				return rows.Err()
			}
			return err
		}},
		{name: "row never scanned", do: func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
			return tx.QueryRowContext(ctx, "select 1").Err()
		}},
		{name: "row never scanned with a context of its own",
			do: func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
				own, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Hour)
				context.AfterFunc(ctx, cancel)
				return tx.QueryRowContext(own, "select 1").Err()
			}},
		{name: "prepared statement left open", do: func(_ *scene, ctx context.Context, tx *posthorn.Tx) error {
			stmt, err := tx.PrepareContext(ctx, "select 1")
			if err != nil {
				return err
			}
			rows, err := stmt.QueryContext(ctx)
			if err == nil {
				rows.Next()
			}
			return err
		}},
		{name: "a goroutine outlives it", chance: true, after: either, do: outlive},
		{name: "a goroutine outlives it with a prepared statement", chance: true, after: either, do: outliveStmt},
	}
}

// outlive starts a goroutine that writes until it is told that its transaction
// is over.
func outlive(s *scene, ctx context.Context, tx *posthorn.Tx) error {
	return s.stray(func() error {
		_, err := tx.ExecContext(context.WithoutCancel(ctx), s.kind.stray)
		return err
	}, driver.ErrTxDone)
}

// outliveStmt does it with a prepared statement, which database/sql closes.
func outliveStmt(s *scene, ctx context.Context, tx *posthorn.Tx) error {
	stmt, err := tx.PrepareContext(ctx, s.kind.stray)
	if err != nil {
		return err
	}
	return s.stray(func() error {
		_, err := stmt.ExecContext(context.Background())
		return err
	}, nil)
}

// stray writes in a goroutine until it is told the end; nil is any error. It
// returns after the first time.
func (s *scene) stray(write func() error, end error) error {
	first := make(chan struct{})
	s.strays.Go(func() {
		err := write()
		close(first)
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); err = write() {
			if errors.Is(err, driver.ErrTxDone) || end == nil && err != nil {
				return
			}
		}
		s.t.Errorf("a goroutine that outlived its handler was never told: %v", err)
	})
	<-first
	return nil
}

// withSQL is a handler that uses the raw transaction.
func withSQL(fn func(tx *sql.Tx) error) does {
	return func(_ *scene, _ context.Context, tx *posthorn.Tx) error { return fn(tx.SQL()) }
}

// rawCases use the raw transaction.
func rawCases(k kind) []nasty {
	return []nasty{
		{name: "raw: Commit", rawOnly: true, want: errSome, after: either,
			do: withSQL(func(tx *sql.Tx) error { _ = tx.Commit(); return nil })},
		{name: "raw: Rollback", rawOnly: true, want: errSome, after: either,
			do: withSQL(func(tx *sql.Tx) error { _ = tx.Rollback(); return nil })},
		{name: "raw: Rollback, then a write", rawOnly: true, want: errSome, after: either,
			do: withSQL(func(tx *sql.Tx) error {
				_ = tx.Rollback()
				_, _ = tx.Exec(k.ghost())
				return nil
			})},
		{name: "raw: Commit, its error returned", rawOnly: true, want: errSome, after: either, do: withSQL((*sql.Tx).Commit)},
		{name: "raw: commit as a statement", rawOnly: true, want: driver.ErrTxRefused,
			do: withSQL(func(tx *sql.Tx) error { _, _ = tx.Exec("commit"); return nil })},
		{name: "raw: rows, a row and a statement left open", rawOnly: true, after: either,
			do: withSQL(func(tx *sql.Tx) error {
				stmt, err := tx.Prepare("select 1")
				rows, err2 := tx.Query(k.many)
				return errors.Join(err, err2, onlyErr(stmt, rows))
			})},
		{name: "raw: panic", rawOnly: true, want: errSome, do: withSQL(func(*sql.Tx) error { panic("raw") })},
	}
}

func onlyErr(stmt *sql.Stmt, rows *sql.Rows) error {
	if stmt == nil || rows == nil {
		return errBoo
	}
	rows.Next()
	return rows.Err()
}

// ghost inserts an effect that must never be committed.
func (k kind) ghost() string { return "insert into effect values ('ghost')" }
