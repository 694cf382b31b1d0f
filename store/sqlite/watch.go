package sqlite

import (
	"context"
	"database/sql"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/posthorn/posthorn/internal/finetimer"
	"github.com/posthorn/posthorn/store"
)

// A watch sees that a database file changed, by this process or another: every
// commit writes to the WAL file beside it. That is how a message dispatched by
// another process is picked up at once without polling.
//
// The event comes with the write of a commit, which can be seen after its fsync only. So
// from an event on the watch asks SQLite whether anything was committed
// (https://www.sqlite.org/pragma.html#pragma_data_version), which is cheap, and tells of
// changes that can be seen. Events may be lost; what it tells are hints.
type watch struct {
	path    string
	log     *slog.Logger
	version versions
	life    context.Context //nolint:containedctx // until stop
	end     context.CancelFunc
	wg      sync.WaitGroup
}

// newWatch takes over a pool of one connection.
func newWatch(path string, db *sql.DB, log *slog.Logger) *watch {
	life, end := context.WithCancel(context.Background())
	return &watch{path: path, log: log, version: versions{db: db}, life: life, end: end}
}

// start begins to watch. Where the system has no way to, consumers poll.
func (w *watch) start(changed func(), expected *store.Expectation) {
	fs, err := fsnotify.NewWatcher()
	if err == nil {
		err = fs.Add(filepath.Dir(w.path))
	}
	if err != nil {
		w.log.Warn("cannot watch the store's file: messages of other processes are found by polling", "error", err)
		if fs != nil {
			_ = fs.Close()
		}
		return
	}
	w.wg.Go(func() {
		defer func() { _ = fs.Close() }()
		w.run(fs, changed, expected)
	})
}

// When the version is asked for after an event, or after the last change: in short steps
// at first, then less and less often, until an event of which nothing came is forgotten.
// After a change, and while nobody would look, nobody listens for a while: under load
// there is always one.
const (
	step      = 100 * time.Microsecond
	shortFor  = 1500 * time.Microsecond
	forgotten = time.Second // a commit whose fsync takes longer is found by the poll
	quiet     = time.Millisecond
)

// until is how long to wait until the version is asked for again, a time after the last
// event; 0 says that it need not be.
func until(since time.Duration) time.Duration {
	switch {
	case since < shortFor:
		return step
	case since < forgotten:
		return since / 2
	}
	return 0
}

func (w *watch) run(fs *fsnotify.Watcher, changed func(), expected *store.Expectation) {
	timer := finetimer.New()
	defer timer.Close()
	var last time.Time
	events := fs.Events // nil while the timer comes first: the writes of one commit are many events
	for {
		select {
		case ev, ok := <-events:
			if !ok {
				return
			}
			if !strings.HasPrefix(ev.Name, w.path) || !ev.Has(fsnotify.Write|fsnotify.Create) {
				continue
			}
			events, last = nil, time.Now()
			if expected.Any() {
				timer.Reset(step)
			} else {
				timer.Reset(quiet)
			}
		case <-expected.Begun():
			if until(time.Since(last)) > 0 { // of an event that came while nobody waited
				timer.Reset(step)
			}
		case <-timer.C:
			events = fs.Events
			if !expected.Any() {
				continue
			}
			at, pause := w.tick(changed, last)
			if at != last {
				events, last = nil, at
			}
			if pause > 0 {
				timer.Reset(pause)
			}
		case err := <-fs.Errors: // an overflow is a hint, too
			w.log.Debug("file events were lost", "error", err)
			changed()
		case <-w.life.Done():
			return
		}
	}
}

// tick asks whether somebody has committed since it was asked last, and tells. It returns
// when the last event was, and when to ask again; 0: not until there is another one.
func (w *watch) tick(changed func(), last time.Time) (event time.Time, pause time.Duration) {
	seen, err := w.version.changed(w.life)
	pause = until(time.Since(last))
	switch {
	case err != nil: // it may be a change, for what anybody knows
		w.log.Debug("cannot ask whether the store's file has changed", "error", err)
		changed()
		if pause > 0 {
			pause = max(pause, 20*quiet)
		}
	case seen:
		changed()
		return time.Now(), quiet // the event of the next commit may have come already
	}
	return last, pause
}

// stop ends the watch and waits for it.
func (w *watch) stop() error {
	w.end()
	w.wg.Wait()
	return w.version.close()
}

// versions asks on a connection of its own whether anybody else has committed: the number
// that SQLite gives is a connection's, and means nothing on another one.
type versions struct {
	db   *sql.DB // of one connection
	stmt *sql.Stmt
	last int64
}

// changed reports whether there was a commit since the last call.
func (v *versions) changed(ctx context.Context) (bool, error) {
	if v.stmt == nil {
		stmt, err := v.db.PrepareContext(ctx, "pragma data_version")
		if err != nil {
			return false, err
		}
		v.stmt = stmt
	}
	var now int64
	if err := v.stmt.QueryRowContext(ctx).Scan(&now); err != nil {
		return false, err
	}
	was := v.last
	v.last = now
	return was != now, nil
}

func (v *versions) close() error {
	if v.stmt != nil {
		_ = v.stmt.Close() // its connection is closed next
	}
	return v.db.Close()
}
