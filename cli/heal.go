package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/monitor"
	"github.com/posthorn/posthorn/store"
)

// monitorDocument is the name of the document that the monitors of a store share.
const monitorDocument = "monitor"

// A recollection keeps a document in the store, by its name.
type recollection struct {
	s    *session
	name string
}

// Load returns the document.
func (r recollection) Load(ctx context.Context) (body []byte, version int64, err error) {
	st, err := r.s.existing(ctx)
	if err != nil {
		return nil, 0, err
	}
	d, err := st.Document(ctx, r.name)
	if err != nil || d.Version == 0 {
		return nil, 0, err
	}
	return []byte(d.Body), d.Version, nil
}

// Save writes the document, if nobody else has in between.
func (r recollection) Save(ctx context.Context, body []byte, version int64) error {
	st, err := r.s.existing(ctx)
	if err != nil {
		return err
	}
	err = st.SaveDocument(ctx, r.name, store.Document{Version: version, Body: string(body)})
	if errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("%w: %w", monitor.ErrConflict, err)
	}
	return err
}

// successorWithin bounds the wait for the successor of one worker in a rolling
// restart.
const successorWithin = 2 * time.Minute

// A healer does what a monitor decides. A rolling restart goes on after the call that
// begins it, until it is done or the healer's own context ends; wait waits for that.
type healer struct {
	s   *session
	ctx context.Context //nolint:containedctx // of what outlives the calls

	mu      sync.Mutex
	rolling map[string]bool // programs
	wg      sync.WaitGroup
}

// actorMonitor is who acts when the monitor does.
const actorMonitor = "monitor"

func newHealer(ctx context.Context, s *session) *healer {
	return &healer{s: s, ctx: store.Acting(ctx, store.Act{Actor: actorMonitor}), rolling: map[string]bool{}}
}

// RestartWorker tells one worker to stop; what supervises it starts a successor.
func (h *healer) RestartWorker(ctx context.Context, worker, why string) error {
	ctx = store.Acting(ctx, store.Act{Actor: actorMonitor, Reason: why})
	st, err := h.s.existing(ctx)
	if err != nil {
		return err
	}
	asked, err := st.OrderWorkers(ctx, store.WorkerFilter{IDs: []string{worker}}, driver.OrderStop)
	if err == nil && len(asked) == 0 {
		err = fmt.Errorf("restart worker %s: it is not there any more", worker)
	}
	return err
}

// RollingRestart begins to replace the workers of a program, one after the other. One
// that is under way is not begun again.
func (h *healer) RollingRestart(ctx context.Context, program, _ string) error {
	st, err := h.s.existing(ctx)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rolling[program] {
		return fmt.Errorf("restart %s: a rolling restart is under way", program)
	}
	h.rolling[program] = true
	r := &restart{s: h.s, store: st, which: workerFlags{program: program}, wait: true, timeout: successorWithin}
	h.wg.Go(func() {
		if err := r.roll(h.ctx); err != nil && h.ctx.Err() == nil {
			h.s.env.Log.Error("rolling restart did not end well", "program", program, "error", err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.rolling, program)
	})
	return nil
}

// PauseQueue pauses a queue for a while.
func (h *healer) PauseQueue(ctx context.Context, queue, why string, pause time.Duration) error {
	st, err := h.s.existing(ctx)
	if err != nil {
		return err
	}
	_, err = st.Pause(ctx, store.Pause{Queue: queue, Reason: why, Actor: actorMonitor, For: pause})
	return err
}

// wait waits for the rolling restarts that are under way.
func (h *healer) wait() { h.wg.Wait() }

// paused are the queues that are paused, with the reasons.
func (s *session) paused(ctx context.Context) (map[string]string, error) {
	st, err := s.existing(ctx)
	if err != nil {
		return nil, err
	}
	ps, _, err := st.Pauses(ctx)
	out := make(map[string]string, len(ps))
	for _, p := range ps {
		out[p.Queue] = fmt.Sprintf("paused by %s: %s", p.Actor, p.Reason)
	}
	return out, err
}
