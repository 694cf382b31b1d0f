// Package pool is the engine of the databases that are servers: it keeps a few
// connections for effects, and a few others for Posthorn's own short
// transactions, which no handler can starve.
package pool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/mutant"
	"github.com/posthorn/posthorn/store"
)

// A Dialect is what differs between the servers. Its functions may be called
// concurrently, for different connections.
type Dialect struct {
	Rebind func(stmt string) string // writes the parameters of a statement
	Now    string                   // → the server's clock in milliseconds
	Begin  string
	Fault  func(error) store.Fault // what an error is about
	Lost   func(error) bool        // whether the connection must not be used again
	SQL    store.Statements
	// Do writes all but the functions in one round trip, which is a transaction
	// by itself unless one is open. Nil writes statement by statement.
	Do func(ctx context.Context, conn *sql.Conn, ws []*store.Write) error
	// Join stands for Do, on connections that no handler uses, where several
	// statements may share a round trip. It reports whether the commit was sent.
	Join func(ctx context.Context, conn *sql.Conn, part Part, ws []*store.Write) (committing bool, err error)
	// Unsent reports whether a statement that gave err has not reached the
	// server, or has been refused by it before anything was committed.
	Unsent func(error) bool
	// Idle reports whether a connection that waits in a pool is still good, as
	// far as can be told without asking the server. Nil: it is.
	Idle func(conn *sql.Conn) bool
	// Deadline sets until when a connection waits for the server, which ends it; zero: for as long as it takes. A
	// connection that is given up already is left alone. Nil: a context bounds each statement.
	Deadline func(conn *sql.Conn, at time.Time)
	// Many runs a statement for each row in as few round trips as it can. Nil
	// runs them one by one.
	Many func(ctx context.Context, conn *sql.Conn, stmt string, rows [][]any) ([]int64, error)
	// Inspect says what handlers have left in the session; empty means that it
	// is as it was when it was opened.
	Inspect func(ctx context.Context, conn *sql.Conn, when When) (left string, err error)
	// Whole reports whether a commit would keep the transaction. Nil: it would.
	Whole func(conn *sql.Conn) bool
	// Wipe undoes what handlers have left in the session that outlives the
	// transaction: before a commit, or together with a rollback. It is for
	// sessions that somebody else gets after the transaction, before Inspect can
	// look at them; nil where each connection keeps its own.
	Wipe func(ctx context.Context, conn *sql.Conn, rollback bool) error
	// Local says that Inspect finds things that end with the transaction, too.
	Local bool
}

// A Part says whether some writes begin their transaction and commit it. Else they are part of
// one that is open, and stays open.
type Part struct{ Begin, Commit bool }

// When says when a session is inspected.
type When uint8

// The moments.
const (
	After  When = iota // a transaction
	Before             // its commit; what else that would run of the application's own is to be run first
	Rest               // after a commit; nothing was found before it
)

// DefaultEffects is how many connections run effects.
const DefaultEffects = 4

// Options are the sizes and times of an Engine. Zero fields have defaults.
type Options struct {
	Effects  int           // connections for effects; 0 means 4
	Control  int           // connections for Posthorn's own transactions; 0 means 3
	App      int           // connections for the application; 0 means 8
	Lifetime time.Duration // of a connection that is used, spread by a fifth; 0 means 30 min
	Idle     time.Duration // after which a connection is tried before it is used; 0 means 10 s
	Patience time.Duration // for a connection to be opened or tried; 0 means 5 s
	Answer   time.Duration // for the server's answer to a statement of Posthorn's own; 0 means 15 s
}

// withDefaults fills in the documented defaults.
func (o Options) withDefaults() Options {
	if o.Effects == 0 {
		o.Effects = DefaultEffects
	}
	if o.Control == 0 {
		o.Control = 3
	}
	if o.App == 0 {
		o.App = 8
	}
	if o.Lifetime == 0 {
		o.Lifetime = 30 * time.Minute
	}
	if o.Idle == 0 {
		o.Idle = 10 * time.Second
	}
	if o.Patience == 0 {
		o.Patience = 5 * time.Second
	}
	if o.Answer == 0 {
		o.Answer = 15 * time.Second
	}
	return o
}

// An Engine is the way to one server. It is a store.Engine.
type Engine struct {
	dialect Dialect
	opts    Options
	guarded *sql.DB // connections under the session guard
	control *sql.DB
	app     *sql.DB

	writes  *store.Combiner // its lanes hold own
	effects *store.Combiner // its lanes hold lent; it runs no writes
	own     []*session
	lent    []*session

	mu      sync.Mutex
	closed  bool
	changed func()
	ears    Ears
}

// Ears are how an Engine hears of changes by other processes. Nil ears hear
// nothing: consumers poll.
type Ears interface {
	// Listen calls changed from when anybody is closed until Close; it does not block.
	Listen(changed func(), anybody <-chan struct{})
	// Tell hints other processes, at its leisure; it does not block.
	Tell()
	Close() error
}

// Pools are the connections that an Engine owns from then on.
type Pools struct{ Guarded, Control, App *sql.DB }

// New makes an engine. ears may be nil.
func New(d Dialect, p Pools, ears Ears, o Options) *Engine {
	o = o.withDefaults()
	e := &Engine{
		dialect: d, opts: o, guarded: p.Guarded, control: p.Control, app: p.App, ears: ears,
		own: make([]*session, o.Control), lent: make([]*session, o.Effects),
	}
	p.Control.SetMaxOpenConns(o.Control + readers)
	p.Control.SetMaxIdleConns(o.Control + readers)
	p.Control.SetConnMaxLifetime(o.Lifetime)
	p.App.SetMaxOpenConns(o.App)
	p.App.SetMaxIdleConns(o.App)
	p.App.SetConnMaxLifetime(o.Lifetime)
	e.writes = store.NewCombiner(o.Control, e.transaction)
	e.effects = store.NewCombiner(o.Effects, func(context.Context, int, []*store.Write) error { return nil })
	return e
}

// Write writes in a transaction that is shared with the writes that wait.
func (e *Engine) Write(ctx context.Context, w *store.Write) error {
	if err := e.writes.Do(ctx, w); err != nil {
		return err
	}
	if e.ears != nil && (len(w.Send) > 0 || w.Func != nil) && !w.Quiet {
		e.ears.Tell()
	}
	return nil
}

// tries is how often a transaction of Posthorn's own is tried: a connection may
// have gone stale, and servers end transactions that deadlock.
const tries = 8

// The pause before another try doubles up to a bound, and is spread, so that two
// transactions that deadlocked do not meet again.
const (
	firstPause = time.Millisecond
	lastPause  = 20 * time.Millisecond
)

// transaction runs writes on the lane's own connection.
func (e *Engine) transaction(ctx context.Context, lane int, ws []*store.Write) (err error) {
	pause := firstPause
	for try := range tries {
		if try > 1 { // a stale connection needs no pause
			<-time.After(rand.N(pause))
			pause = min(2*pause, lastPause)
		}
		err = e.once(ctx, &e.own[lane], ws)
		var f *fault
		if !errors.As(err, &f) || f.committing {
			return err
		}
	}
	return err
}

func (e *Engine) once(ctx context.Context, slot **session, ws []*store.Write) error {
	s, err := e.take(ctx, slot, e.control)
	if err != nil {
		return err
	}
	defer e.give(slot, s)
	if e.dialect.Do != nil && store.Simple(ws) {
		err := s.Do(ctx, ws...)
		return s.explain(err, !e.dialect.Unsent(err))
	}
	if s.joins() && store.Simple(ws) {
		committing, err := s.whole(ctx, ws)
		return s.explain(err, committing && !e.dialect.Unsent(err))
	}
	if _, err := s.Begin(ctx, false); err != nil {
		return s.explain(err, false)
	}
	if err := store.Apply(ctx, s, ws); err != nil {
		s.Rollback(ctx)
		return s.explain(err, false)
	}
	if err := s.Commit(ctx); err != nil {
		s.Rollback(ctx)
		return s.explain(err, true)
	}
	return nil
}

// A fault is the server's, or of the way to it.
type fault struct {
	err        error
	committing bool // the outcome is unknown
}

// Error is the fault's text.
func (e *fault) Error() string { return e.err.Error() }

// Unwrap makes it driver.ErrUnavailable, too, and driver.ErrOutcomeUnknown where
// nobody knows whether it was committed.
func (e *fault) Unwrap() []error {
	if e.committing {
		return []error{driver.ErrUnavailable, driver.ErrOutcomeUnknown, e.err}
	}
	return []error{driver.ErrUnavailable, e.err}
}

// take returns the slot's session, or a fresh one when there is none, when it
// is too old, or when it does not answer after a time of idleness.
func (e *Engine) take(ctx context.Context, slot **session, from *sql.DB) (*session, error) {
	s := *slot
	*slot = nil
	if s != nil {
		stale := time.Now().After(s.expires) || e.dialect.Idle != nil && !e.dialect.Idle(s.conn) ||
			time.Since(s.used) > e.opts.Idle && !e.answers(ctx, s)
		if !stale {
			return s, nil
		}
		s.destroy()
	}
	life := e.opts.Lifetime - rand.N(e.opts.Lifetime/5)
	return e.fresh(ctx, from, time.Now().Add(life))
}

// answers tries a connection that was idle.
func (e *Engine) answers(ctx context.Context, s *session) bool {
	ctx, cancel := context.WithTimeout(ctx, e.opts.Patience)
	defer cancel()
	return s.ping(ctx) == nil
}

// fresh takes a connection out of a pool, which may have to open it.
func (e *Engine) fresh(ctx context.Context, from *sql.DB, expires time.Time) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, e.opts.Patience)
	defer cancel()
	conn, err := from.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", driver.ErrUnavailable, err)
	}
	return e.newSession(conn, expires)
}

// give puts a session back, or destroys it when it is not provably clean.
func (e *Engine) give(slot **session, s *session) {
	if !s.clean() && !mutant.DirtyKept {
		s.destroy()
		return
	}
	s.used = time.Now()
	*slot = s
}

// Exclusive lends a connection for effects. Afterwards it is inspected.
func (e *Engine) Exclusive(ctx context.Context, fn func(context.Context, store.Conn) error) error {
	lane, done, err := e.effects.Borrow(ctx)
	if err != nil {
		return err
	}
	defer done()
	ctx = context.WithoutCancel(ctx) // an effect's own context ends it, nothing else
	s, err := e.take(ctx, &e.lent[lane], e.guarded)
	if err != nil {
		return err
	}
	defer e.give(&e.lent[lane], s)
	return s.explain(fn(ctx, s), false)
}

// Read runs fn on a connection of the control pool, outside a transaction.
func (e *Engine) Read(ctx context.Context, fn store.WriteFunc) error {
	if e.isClosed() {
		return driver.ErrClosed
	}
	for try := 0; ; try++ {
		s, err := e.fresh(ctx, e.control, time.Time{})
		if err != nil {
			return err
		}
		err = s.explain(fn(ctx, s), false)
		if !s.broken {
			return errors.Join(err, s.conn.Close())
		}
		s.destroy()
		if try > 0 || ctx.Err() != nil { // the first connection may have gone stale
			return err
		}
	}
}

// OnChange sets who is told of changes.
func (e *Engine) OnChange(fn func(), expect *store.Expectation) {
	e.changed = fn
	if e.ears != nil {
		e.ears.Listen(fn, expect.Anybody())
	}
}

// Uses says how the connections are used. Reading shares the control pool, beyond its
// lanes.
func (e *Engine) Uses() []store.PoolUse {
	return []store.PoolUse{
		e.effects.Use("effects", e.guarded), e.writes.Use("control", e.control), store.UseOf("app", e.app),
	}
}

func (e *Engine) isClosed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed
}

// Close ends everything; what was accepted for writing is written.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	var err error
	if e.ears != nil {
		err = e.ears.Close()
	}
	e.writes.Close(context.Background())
	e.effects.Close(context.Background())
	for _, s := range append(e.own, e.lent...) {
		if s != nil {
			s.destroy()
		}
	}
	for _, pool := range []*sql.DB{e.guarded, e.control, e.app} {
		_ = pool.Close() // that the server was first to close is no fault of ours
	}
	return err
}
