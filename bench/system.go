package main

import (
	"context"
	"database/sql"
	"slices"
	"time"
)

// A note is the message that every system carries: 200 bytes of JSON.
type note struct {
	Sent int64  `json:"sent"` // nanoseconds since 1970
	N    int    `json:"n"`
	Text string `json:"text"`
}

// Kind makes it a message of Posthorn, and the arguments of a River job.
func (note) Kind() string { return "note" }

// noteText fills the body up to 200 bytes.
const noteText = "This text stands for what an application says about its work. " +
	"It is as long as it has to be to make the whole body two hundred bytes of JSON, no more."

// firstNote is the number of the first note: all have as many digits.
const firstNote = 1_000_000

// newNote makes the nth note, sent now.
func newNote(n int) note {
	return note{Sent: time.Now().UnixNano(), N: firstNote + n, Text: noteText}
}

// A load is what the handlers of a run do.
type load struct {
	insert      bool      // commit one INSERT together with the completion
	queued      bool      // the INSERT is queued, and sent with those of other messages
	alone       bool      // Posthorn only: without group commit
	faults      *faults   // Posthorn only: some messages fail; or nil
	concurrency int       // handlers at once; 0 means what suits the system best
	line        *timeline // notes when messages are handled, or nil
	seen        func(note)
}

// slots is how many handlers run at once, for a system that is best with some.
func (l load) slots(best int) int {
	if l.concurrency > 0 {
		return l.concurrency
	}
	return best
}

// A bus is a system that was opened on a database of its own.
type bus interface {
	// send accepts one note: it is durable on return.
	send(ctx context.Context, n note) error
	// sendMany accepts a batch in one transaction.
	sendMany(ctx context.Context, ns []note) error
	// work runs a worker until ctx ends.
	work(ctx context.Context, l load) error
	// left counts the messages that are not done.
	left(ctx context.Context) (int, error)
	// db is a pool on the same database.
	db() *sql.DB
	close() error
}

// A system is one of those that are measured: a product on a kind of store.
type system struct {
	subject
	title     string // in tables
	module    string // its Go module, for the version
	settings  string // how it is tuned
	backlog   int    // messages that it handles in about a second
	backlogTx int    // the same where each has an INSERT; 0: as many
	lacks     string // works that it does not offer, and why
	without   []string
	asked     bool     // only measured when it is named
	pending   []string // works that it is going to offer, and does not yet
	open      func(ctx context.Context, address string, l load) (bus, error)
}

// A subject is what is measured: a system of a kind of store, or the limit of
// the machine there.
type subject struct {
	Store  string `json:"store"`
	System string `json:"system"`
}

// rawName is the system name of the machine's own limits.
const rawName = "raw"

// offers reports whether the system takes part in a work.
func (s system) offers(work string) bool {
	return !slices.Contains(s.without, work) && !slices.Contains(s.pending, work)
}

// systems lists all that are measured, by store, Posthorn first.
func systems() []system {
	return append([]system{
		posthornSystem(sqliteKind(), 80_000, 80_000), goqiteSystem(), backliteSystem(), riverSQLiteSystem(),
		posthornSystem(postgresKind(), 100_000, 50_000), riverPostgresSystem(), gueSystem(), watermillPostgresSystem(),
		watermillQueueSystem(),
		posthornSystem(mariadbKind(), 60_000, 20_000), watermillMariaDBSystem(),
		asynqSystem(redisKind()), asynqSystem(redisAOFKind()),
	}, laneSystems()...)
}
