package sqlite

import (
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// quiet is how long the watch does not listen after a hint: the writes of one
// commit come as many events.
const quiet = 500 * time.Microsecond

// A watch sees that a database file changed, by this process or another: every
// commit writes to the WAL file beside it. That is how a message dispatched by
// another process is picked up at once without polling. Events may be lost;
// they are hints.
type watch struct {
	path string
	log  *slog.Logger
	end  chan struct{}
	once sync.Once
	wg   sync.WaitGroup
}

func newWatch(path string, log *slog.Logger) *watch {
	return &watch{path: path, log: log, end: make(chan struct{})}
}

// start begins to watch. Where the system has no way to, consumers poll.
func (w *watch) start(changed func()) {
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
		w.run(fs, changed)
	})
}

func (w *watch) run(fs *fsnotify.Watcher, changed func()) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case ev, ok := <-fs.Events:
			if !ok {
				return
			}
			if !strings.HasPrefix(ev.Name, w.path) || !ev.Has(fsnotify.Write|fsnotify.Create) {
				continue
			}
			changed()
			timer.Reset(quiet)
			select {
			case <-timer.C:
			case <-w.end:
				return
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
