package sqlite

import (
	"database/sql"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/posthorn/posthorn/store"
)

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// It is asked whether somebody has committed, not whether somebody writes.
func TestAVersionChangesWithACommitAlone(t *testing.T) {
	t.Parallel()
	a := address{path: filepath.Join(t.TempDir(), "store.db"), synchronous: "full"}
	db, err := a.pool(2, "")
	try(t, err)
	defer func() { try(t, db.Close()) }()
	exec := func(q interface {
		Exec(query string, args ...any) (sql.Result, error)
	}, stmt string) {
		t.Helper()
		_, err := q.Exec(stmt)
		try(t, err)
	}
	exec(db, "create table some (n int)")
	other, err := a.pool(1, "query_only(on)")
	try(t, err)
	v := versions{db: other}
	defer func() { try(t, v.close()) }()
	want := func(want bool) {
		t.Helper()
		if got, err := v.changed(t.Context()); got != want || err != nil {
			t.Errorf("changed is %v, %v, want %v", got, err, want)
		}
	}
	want(true) // it has not been asked for before
	want(false)
	tx, err := db.Begin()
	try(t, err)
	exec(tx, "insert into some values (1)")
	want(false)
	try(t, tx.Commit())
	want(true)
	want(false)
	tx, err = db.Begin()
	try(t, err)
	exec(tx, "insert into some values (2)")
	try(t, tx.Rollback())
	want(false)
}

// The version is asked for often where a commit is expected, then less and less, and
// not for ever.
func TestAnEventOfWhichNothingComesIsForgotten(t *testing.T) {
	t.Parallel()
	asked, since := 0, time.Duration(0)
	for pause := until(0); pause > 0; pause = until(since) {
		asked++
		since += pause
	}
	if asked > 50 || since < forgotten || until(since) != 0 {
		t.Errorf("asked %d times in %v", asked, since)
	}
}

// A watch that cannot ask hints at what may have been a change, asks again after a while,
// and gives up when the event is old.
func TestAWatchThatCannotAskHintsAndAsksAgain(t *testing.T) {
	t.Parallel()
	a := address{path: filepath.Join(t.TempDir(), "store.db"), synchronous: "full"}
	db, err := a.pool(1, "")
	try(t, err)
	w := newWatch(a.path, db, slog.New(slog.DiscardHandler))
	try(t, db.Close())
	hints := 0
	hint := func() { hints++ }
	now := time.Now()
	if at, pause := w.tick(hint, now); hints != 1 || !at.Equal(now) || pause < 20*quiet {
		t.Errorf("%d hints, asks again after %v", hints, pause)
	}
	if _, pause := w.tick(hint, now.Add(-2*forgotten)); hints != 2 || pause != 0 {
		t.Errorf("%d hints, asks again after %v, want not at all", hints, pause)
	}
	try(t, w.stop())
}

// Nothing is asked, and nobody told, while nobody would look.
func TestAWatchIsQuietUntilSomebodyWaits(t *testing.T) {
	t.Parallel()
	a := address{path: filepath.Join(t.TempDir(), "store.db"), synchronous: "full"}
	db, err := a.pool(1, "")
	try(t, err)
	_, err = db.Exec("create table some (n int)")
	try(t, err)
	own, err := a.pool(1, "query_only(on)")
	try(t, err)
	w := newWatch(a.path, own, slog.New(slog.DiscardHandler))
	hints := make(chan struct{}, 100)
	var expected store.Expectation
	w.start(func() { hints <- struct{}{} }, &expected)
	for range 10 {
		_, err = db.Exec("insert into some values (1)")
		try(t, err)
	}
	try(t, w.stop())
	try(t, db.Close())
	if len(hints) > 0 {
		t.Errorf("%d hints although nobody waited", len(hints))
	}
}
