// Package store is Posthorn's SQL store: the queues of the store transport,
// the dead letters, the attempts, the registry of workers and what operators
// ask of them, all in one database, so that they can change together.
//
// The package holds what all databases have in common. A dialect (package
// store/sqlite, and the server databases) brings an [Engine], its statements
// and the classes of its errors, and opens the Store.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/tap"
)

// Options are the settings that all dialects share.
type Options struct {
	MaxBody     int           // the largest body in bytes; 0 means driver.MaxBody
	Poll        time.Duration // how long an idle consumer waits for hints before it looks; 0 means 1 s
	GroupBudget time.Duration // how long effects may keep one transaction open; 0 means 25 ms
	// SlowEffect is how long one effect may keep the others of its transaction waiting;
	// then it is undone, and run again alone when they are committed. Its context tells
	// it by ending, so its statements end at once; 0 means 500 ms, negative no bound.
	SlowEffect time.Duration
	StuckGrace time.Duration // how long after its deadline an effect is waited for; 0 means 2 s
	// SuspectPatience is how long a suspect waits for somebody who runs suspects
	// alone, until any consumer may have it; 0 means 60 s.
	SuspectPatience time.Duration
	Log             *slog.Logger  // nil means silence
	Server          ServerOptions // for a store on a server
	Meter           Meter         // is told figures; nil means nobody wants them

	// AsIs leaves the schema as it is: what is pending is not run. It is for
	// looking at a store, with Examine.
	AsIs bool
}

// withDefaults fills in the documented defaults.
func (o Options) withDefaults() Options {
	if o.MaxBody == 0 {
		o.MaxBody = driver.MaxBody
	}
	if o.Poll == 0 {
		o.Poll = time.Second
	}
	if o.GroupBudget == 0 {
		o.GroupBudget = 25 * time.Millisecond
	}
	if o.SlowEffect == 0 {
		o.SlowEffect = 500 * time.Millisecond
	}
	if o.StuckGrace == 0 {
		o.StuckGrace = 2 * time.Second
	}
	if o.SuspectPatience == 0 {
		o.SuspectPatience = time.Minute
	}
	if o.Meter == nil {
		o.Meter = noMeter{}
	}
	o.Log = tap.Logger(o.Log)
	return o
}

// A Parts is what a dialect brings.
type Parts struct {
	Engine     Engine
	SQL        Statements               // with the store's names in them
	Names      Names                    // of the tables
	Name       string                   // of the dialect
	Durability driver.Durability        // read from the live database
	Rebind     func(stmt string) string // writes the parameters of a statement; nil leaves question marks
	Fault      func(error) Fault        // what an error is about, or empty; its class follows
	DB         *sql.DB                  // a pool for the application, on the same database
	// Named reports whether an error says that it is this database's; nil when
	// all that Fault knows do.
	Named func(error) bool
	// Fast is how soon a consumer may look again while messages come often; 0
	// means that hints can be trusted, and it looks after Options.Poll.
	Fast time.Duration
	// Abreast is how many claims a consumer runs beside each other where there is much to
	// claim; 0 means one. It needs as many lanes for writes.
	Abreast int
	// Spans is how many units may be settled together before their effects run.
	Spans int
	// GuardsRuns says that the guard judges a statement when it is run, not by its text:
	// what an effect has queued is run at its end, while the guard watches it, and not
	// with what the others of its span have queued.
	GuardsRuns bool
	// MustAsk says that only the server knows whether the transaction still stands
	// after an effect. It is asked at the end of a span, by the release of the
	// span's savepoint.
	MustAsk bool
	// Marks says that the database keeps what was deleted for a while, so that
	// claims had better begin where the last one ended.
	Marks bool
	// ReadySince is a condition, and its arguments, that there are ready messages of a queue
	// from some marks on. With it a consumer looks before it claims; nil: a claim that finds
	// nothing costs no more than a look.
	ReadySince func(queue string, marks []Mark) (cond string, args []any)
	Lanes      int     // driver.Capabilities.Lanes
	Checks     []Check // for Examine
}

// Classify gives the class of an error: driver.ClassTransient, ClassUnique,
// ClassNoTable, or empty when it is the statement's own fault.
func (p Parts) Classify(err error) driver.Class { return p.Fault(err).Class() }

// A Store is an opened store. It is a driver.Transport with every role; all
// its methods may be called concurrently.
type Store struct {
	Parts
	opts     Options
	id       string // of this database, so that two stores are not mixed up
	hub      hub
	traces   traces
	slow     traces // the kinds whose effects keep others waiting
	enders   traces // the kinds whose effects run what may end the transaction
	width    width
	away     atomic.Pointer[time.Time] // when a call last failed because the store was
	reprieve atomic.Pointer[reprieve]  // the one of all consumers that lasts longest
	behind   atomic.Int64              // grows when something may have come to stand before consumers' marks
	// wholeShare is the constant, but for tests.
	wholeShare time.Duration
	leastCost  time.Duration // of a look from the start: zero, but for tests
	surveys    chan struct{} // holds at most one look aside
	sending    sending
	offerFor   time.Duration // the constants, but for tests
	offerAfter time.Duration
	pauses     pauses
	faults     faults
	closing    sync.Once
}

// New makes a store of a dialect's parts, whose database has been migrated. The
// store owns them from then on.
func New(ctx context.Context, p Parts, o Options) (*Store, error) {
	if p.Rebind == nil {
		p.Rebind = func(stmt string) string { return stmt }
	}
	s := &Store{Parts: p, opts: o.withDefaults(), wholeShare: wholeShare, surveys: make(chan struct{}, 1)}
	s.sending.opened, s.offerFor, s.offerAfter = time.Now(), offerFor, offerAfter
	err := s.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		return q.Query(ctx, s.SQL.StoreID, nil, func(r Row) error { return r.Scan(&s.id) })
	})
	if err != nil {
		return nil, fmt.Errorf("read store id: %w", err)
	}
	if err := s.mayGive(ctx); err != nil {
		return nil, fmt.Errorf("read rights: %w", err)
	}
	s.hub.expect.begun = make(chan struct{}, 1)
	s.hub.expect.anybody = make(chan struct{})
	s.Engine.OnChange(s.hub.wake, &s.hub.expect)
	return s, nil
}

// Capabilities says what the store can do.
func (s *Store) Capabilities() driver.Capabilities {
	return driver.Capabilities{
		Delay: true, Priority: true, Bury: true, UniqueIDs: true, AttemptsLog: true,
		MaxBody: s.opts.MaxBody, Durability: s.Durability, Lanes: s.Lanes, Suspects: true,
	}
}

// ID identifies this database among all stores.
func (s *Store) ID() string { return s.id }

// Dialect names the database's kind.
func (s *Store) Dialect() string { return s.Name }

// DB is a pool of connections to the store's database for the application's
// own work: its tables live beside Posthorn's, so that handlers can change them
// in their transactions. The store closes it.
func (s *Store) DB() *sql.DB { return s.Parts.DB }

// Classify tells faults of the database from other errors. A network's error
// counts only when it says that it is the database's: a handler has other
// connections, too.
func (s *Store) Classify(err error) driver.Class {
	if errors.Is(err, driver.ErrUnavailable) || Fault(s.Fault(err)).Class() == driver.ClassTransient {
		return driver.ClassTransient
	}
	return ""
}

// Fault names what an error of this database is about, as a [Fault]; it is empty
// for any other error.
func (s *Store) Fault(err error) string {
	if s.Named == nil || s.Named(err) {
		return string(s.Parts.Fault(err))
	}
	return ""
}

// Ping reports whether the store answers.
func (s *Store) Ping(ctx context.Context) error {
	err := s.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		return q.Query(ctx, s.SQL.StoreID, nil, func(r Row) error { return r.Scan(new(string)) })
	})
	return s.explain("ping store", err)
}

// Close closes the store. Consumers end with driver.ErrClosed.
func (s *Store) Close() error {
	var err error
	s.closing.Do(func() {
		s.hub.close()
		err = s.Engine.Close()
	})
	return err
}

// explain wraps an error of the database; one that is a fault of the store and
// not of the call matches driver.ErrUnavailable.
func (s *Store) explain(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, driver.ErrUnavailable), s.Parts.Classify(err) == driver.ClassTransient:
		now := time.Now()
		s.away.Store(&now)
		return fmt.Errorf("%s: %w: %w", doing, driver.ErrUnavailable, err)
	case s.Parts.Classify(err) == ClassUnique:
		return fmt.Errorf("%s: %w: %w", doing, driver.ErrDuplicate, err)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}
