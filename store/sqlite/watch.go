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
	end     chan struct{}
	once    sync.Once
	wg      sync.WaitGroup
}

func newWatch(path string, pool *sql.DB, log *slog.Logger) *watch {
	return &watch{path: path, log: log, version: versions{pool: pool}, end: make(chan struct{})}
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
		defer w.version.close()
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
			seen, err := w.version.changed()
			if seen || err != nil { // what cannot be told may be a change
				changed()
			}
			if seen {
				events, last = nil, time.Now() // the event of the next commit may have come already
				timer.Reset(quiet)
			} else if pause := until(time.Since(last)); pause > 0 && err == nil {
				timer.Reset(pause)
			}
		case err := <-fs.Errors: // an overflow is a hint, too
			w.log.Debug("file events were lost", "error", err)
			changed()
		case <-w.end:
			return
		}
	}
}

// stop ends the watch and waits for it.
func (w *watch) stop() {
	w.once.Do(func() { close(w.end) })
	w.wg.Wait()
}

// versions asks on a connection of its own whether anybody else has committed: the number
// that SQLite gives is a connection's, and means nothing on another one.
type versions struct {
	pool *sql.DB
	conn *sql.Conn
	stmt *sql.Stmt
	last int64
}

// changed reports whether there was a commit since the last call.
func (v *versions) changed() (bool, error) {
	now, err := v.ask(context.Background())
	if err != nil {
		v.close()
		return false, err
	}
	was := v.last
	v.last = now
	return was != now, nil
}

func (v *versions) ask(ctx context.Context) (now int64, err error) {
	if v.conn == nil {
		if v.conn, err = v.pool.Conn(ctx); err != nil {
			v.conn = nil
			return 0, err
		}
		if v.stmt, err = v.conn.PrepareContext(ctx, "pragma data_version"); err != nil {
			return 0, err
		}
	}
	err = v.stmt.QueryRowContext(ctx).Scan(&now)
	return now, err
}

// close gives the connection back. Errors of what is given up tell nobody anything.
func (v *versions) close() {
	if v.stmt != nil {
		_ = v.stmt.Close()
	}
	if v.conn != nil {
		_ = v.conn.Close()
	}
	v.stmt, v.conn, v.last = nil, nil, 0
}
