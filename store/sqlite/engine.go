package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/mutant"
	"github.com/posthorn/posthorn/store"
)

// files is the way to one SQLite file. There is one connection that writes:
// SQLite has one writer at a time anyway, and so the writes of all goroutines
// can share a commit.
type files struct {
	writer  *sql.DB // one connection
	readers *sql.DB // write nothing
	app     *sql.DB // the application's own
	watch   *watch
	sql     store.Statements

	writes *store.Combiner // its one lane holds sess
	sess   *session        // nil until it is opened, and after it broke

	mu     sync.Mutex
	closed bool
	stmts  map[string]*sql.Stmt // of the readers
}

// Write writes in a transaction that is shared with the writes that wait.
func (e *files) Write(ctx context.Context, w *store.Write) error { return e.writes.Do(ctx, w) }

// transaction runs writes on the writing connection. Its lane is held.
func (e *files) transaction(ctx context.Context, _ int, ws []*store.Write) (err error) {
	s, err := e.session(ctx)
	if err != nil {
		return err
	}
	defer func() { e.settleSession(err) }()
	if _, err := s.Begin(ctx, false); err != nil {
		return fmt.Errorf("%w: %w", driver.ErrUnavailable, err)
	}
	if err := store.Apply(ctx, s, ws); err != nil {
		s.Rollback(ctx)
		return err
	}
	if err := s.Commit(ctx); err != nil {
		s.Rollback(ctx)
		return unsure(err)
	}
	return nil
}

// session is the writing connection. The lane is held.
func (e *files) session(ctx context.Context) (*session, error) {
	if e.sess == nil {
		s, err := newSession(ctx, e.writer, &e.sql)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", driver.ErrUnavailable, err)
		}
		e.sess = s
	}
	return e.sess, nil
}

// settleSession destroys the writing connection if it is not provably clean.
func (e *files) settleSession(err error) {
	if e.sess != nil && (broken(err) || e.sess.guard.Dirty() != "" && !mutant.DirtyKept) {
		e.sess.destroy()
		e.sess = nil
	}
}

// Exclusive lends the writing connection.
func (e *files) Exclusive(ctx context.Context, fn func(context.Context, store.Conn) error) (err error) {
	_, done, err := e.writes.Borrow(ctx)
	if err != nil {
		return err
	}
	defer done()
	ctx = context.WithoutCancel(ctx) // an effect's own context ends it, nothing else
	s, err := e.session(ctx)
	if err != nil {
		return err
	}
	defer func() { e.settleSession(err) }()
	return fn(ctx, s)
}

// Uses says how the connections are used.
func (e *files) Uses() []store.PoolUse {
	return []store.PoolUse{
		e.writes.Use("writer", e.writer), store.UseOf("readers", e.readers), store.UseOf("app", e.app),
	}
}

func (e *files) isClosed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed
}

// Read runs fn on the readers' pool.
func (e *files) Read(ctx context.Context, fn func(context.Context, store.Session) error) error {
	if e.isClosed() {
		return driver.ErrClosed
	}
	return fn(ctx, reading{e})
}

// OnChange watches the files for changes by anybody.
func (e *files) OnChange(fn func(), expected *store.Expectation) { e.watch.start(fn, expected) }

// Close ends everything; what was accepted for writing is written.
func (e *files) Close() error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	stopped := e.watch.stop()
	e.writes.Close(context.Background())
	if e.sess != nil {
		e.sess.destroy()
		e.sess = nil
	}
	return errors.Join(stopped, e.readers.Close(), e.app.Close(), e.writer.Close())
}

// reading is the session of the readers' pool.
type reading struct{ e *files }

// Now is the host's clock.
func (r reading) Now(context.Context) (int64, error) { return time.Now().UnixMilli(), nil }

// Exec is refused: nothing is written here.
func (r reading) Exec(context.Context, string, ...any) (int64, error) {
	return 0, fmt.Errorf("write in Read: %w", driver.ErrUnsupported)
}

// ExecMany is refused, too.
func (r reading) ExecMany(context.Context, string, [][]any) ([]int64, error) {
	return nil, fmt.Errorf("write in Read: %w", driver.ErrUnsupported)
}

// Do is refused, too.
func (r reading) Do(context.Context, ...*store.Write) error {
	return fmt.Errorf("write in Read: %w", driver.ErrUnsupported)
}

// Query runs a query on some connection of the pool.
func (r reading) Query(ctx context.Context, stmt string, args []any, scan func(store.Row) error) error {
	p, err := r.prepare(ctx, stmt)
	if err != nil {
		return err
	}
	rows, err := p.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	return eachRow(rows, scan)
}

// prepare keeps the fixed statements, and those of filters up to a bound.
func (r reading) prepare(ctx context.Context, stmt string) (*sql.Stmt, error) {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	if p := r.e.stmts[stmt]; p != nil {
		return p, nil
	}
	p, err := r.e.readers.PrepareContext(ctx, stmt)
	if err != nil {
		return nil, err
	}
	if len(r.e.stmts) > 200 {
		for text, old := range r.e.stmts {
			_ = old.Close()
			delete(r.e.stmts, text)
		}
	}
	r.e.stmts[stmt] = p
	return p, nil
}
