package metrics

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// maxReporters bounds the processes that report at once.
const maxReporters = 4096

// A hub takes in what worker processes report, on a socket that nobody but this user
// can reach.
type hub struct {
	tally    *Tally
	log      *slog.Logger
	dir      string
	listener net.Listener
}

func newHub(t *Tally, log *slog.Logger) (*hub, error) {
	dir, err := os.MkdirTemp("", "posthorn-metrics-") // of mode 0700
	if err != nil {
		return nil, fmt.Errorf("listen for workers' figures: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", filepath.Join(dir, "s"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for workers' figures: %w", err), os.RemoveAll(dir))
	}
	return &hub{tally: t, log: log, dir: dir, listener: l}, nil
}

// run takes in reports until ctx ends.
func (h *hub) run(ctx context.Context) {
	var readers sync.WaitGroup
	defer readers.Wait()
	readers.Go(func() {
		<-ctx.Done()
		_ = h.listener.Close()
	})
	room := make(chan struct{}, maxReporters)
	for n := 0; ctx.Err() == nil; n++ {
		conn, err := h.listener.Accept()
		if err != nil { // there are no file descriptors left, and the workers try again; or it was closed
			h.failed(ctx, err)
			continue
		}
		if len(room) == cap(room) { // nobody else fills it
			_ = conn.Close()
			continue
		}
		room <- struct{}{}
		readers.Go(func() {
			h.hear(ctx, conn, strconv.Itoa(n))
			<-room
		})
	}
}

// failed waits a while after a connection could not be accepted.
func (h *hub) failed(ctx context.Context, err error) {
	if ctx.Err() == nil {
		h.log.Warn("cannot hear a worker's figures", "error", err)
		pause(ctx)
	}
}

// hear takes in the reports of one process until it ends, and what it had still said when
// ctx ends.
func (h *hub) hear(ctx context.Context, conn net.Conn, source string) {
	defer h.tally.Gone(source)
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	lines := bufio.NewScanner(conn)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	lines.Split(wholeLines)
	for lines.Scan() {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			h.log.Warn("a worker's figures cannot be read", "error", err)
			return
		}
		h.tally.absorb(l.Series)
		if l.Pools != nil {
			h.tally.Pools(source, l.Pools[:min(len(l.Pools), maxPools)])
		}
	}
}

// maxPools bounds the pools of one process.
const maxPools = 10

// wholeLines splits into lines, but leaves out a last one that was cut off.
func wholeLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	advance, token, err = bufio.ScanLines(data, false)
	if advance == 0 && atEOF {
		return len(data), nil, err
	}
	return advance, token, err
}

func (h *hub) close() { _ = os.RemoveAll(h.dir) }
