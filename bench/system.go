package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"slices"
	"time"

	_ "modernc.org/sqlite" // registers the driver that all the systems share
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

// newNote makes the nth note, sent now.
func newNote(n int) note {
	return note{Sent: time.Now().UnixNano(), N: 1_000_000 + n, Text: noteText}
}

// A load is what the handlers of a run do.
type load struct {
	insert      bool // commit one INSERT together with the completion
	alone       bool // Posthorn only: without group commit
	concurrency int  // handlers at once; 0 means what suits the system best
	seen        func(note)
}

// A bus is a system that was opened on a file of its own.
type bus interface {
	// send accepts one note: it is durable on return.
	send(ctx context.Context, n note) error
	// sendMany accepts a batch in one transaction.
	sendMany(ctx context.Context, ns []note) error
	// work runs a worker until ctx ends.
	work(ctx context.Context, l load) error
	// left counts the messages that are not done.
	left(ctx context.Context) (int, error)
	// db is a pool on the same file.
	db() *sql.DB
	close() error
}

// A system is one of those that are measured.
type system struct {
	name     string // in flags and JSON
	title    string // in tables
	module   string // its Go module, for the version
	settings string // how it is tuned
	backlog  int    // messages that it handles in about a second
	lacks    string // works that it does not offer, and why
	without  []string
	open     func(ctx context.Context, path string, l load) (bus, error)
}

// offers reports whether the system takes part in a work.
func (s system) offers(work string) bool {
	return !slices.Contains(s.without, work)
}

// systems lists all that are measured, Posthorn first.
func systems() []system {
	return []system{posthornSystem(), goqiteSystem(), backliteSystem(), riverSystem()}
}

// effectTable is where the handlers with an INSERT write.
const effectTable = `create table if not exists effect (n integer not null, text text not null)`

// effectInsert is their INSERT.
const effectInsert = `insert into effect (n, text) values (?, ?)`

// openPool opens the pool of a peer: one connection, as goqite and River
// advise and as measures best for backlite, with the pragmas of Posthorn's.
func openPool(ctx context.Context, path string) (*sql.DB, error) {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(10000)", "journal_mode(wal)", "synchronous(full)", "foreign_keys(on)",
		"wal_autocheckpoint(4000)", "journal_size_limit(67108864)",
	}}
	db, err := sql.Open("sqlite", "file:"+path+"?"+q.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(1)
	if err := checkDurable(ctx, db); err != nil {
		return nil, err
	}
	_, err = db.ExecContext(ctx, effectTable)
	return db, err
}

// checkDurable proves the settings that make figures comparable.
func checkDurable(ctx context.Context, db *sql.DB) error {
	var mode string
	var level int
	if err := db.QueryRowContext(ctx, "pragma journal_mode").Scan(&mode); err != nil {
		return fmt.Errorf("read journal mode: %w", err)
	}
	if err := db.QueryRowContext(ctx, "pragma synchronous").Scan(&level); err != nil {
		return fmt.Errorf("read synchronous: %w", err)
	}
	if mode != "wal" || level != 2 {
		return fmt.Errorf("journal mode %s, synchronous %d: want wal and 2 (full)", mode, level)
	}
	return nil
}

// count runs a query for one number.
func count(ctx context.Context, db *sql.DB, query string) (int, error) {
	var n int
	err := db.QueryRowContext(ctx, query).Scan(&n)
	return n, err
}
