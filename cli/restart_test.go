package cli_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/cli"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
)

// A crew plays workers that are supervised: one that is told to stop ends, and has
// a successor unless there are none left.
type crew struct {
	t     *testing.T
	store *store.Store
	dsn   string

	mu         sync.Mutex
	running    []driver.WorkerRecord
	started    int
	successors int // how many may still start
	fewest     int // that ran at a time
}

func newCrew(t *testing.T, size, successors int) *crew {
	t.Helper()
	c := &crew{t: t, dsn: "sqlite:" + filepath.Join(t.TempDir(), "a.db"), successors: successors, fewest: size}
	s, err := sqlite.Open(t.Context(), c.dsn, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	c.store = s
	for range size {
		c.start()
	}
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	t.Cleanup(work.Wait)
	t.Cleanup(cancel)
	work.Go(func() {
		for ctx.Err() == nil {
			c.beat(context.WithoutCancel(ctx))
			time.Sleep(5 * time.Millisecond)
		}
	})
	return c
}

// start starts a worker, each on another host than the one before.
func (c *crew) start() {
	c.started++
	c.enlist(driver.WorkerRecord{
		ID: fmt.Sprint("w", c.started), Program: "mail", Host: fmt.Sprint("host", c.started%2), State: "running",
		Started: time.Now(),
	})
}

func (c *crew) enlist(w driver.WorkerRecord) {
	if _, err := c.store.Heartbeat(context.WithoutCancel(c.t.Context()), w); err != nil {
		c.t.Error(err)
	}
	c.running = append(c.running, w)
}

// beat lets each worker report, and obey.
func (c *crew) beat(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := 0; i < len(c.running); i++ {
		w := c.running[i]
		orders, err := c.store.Heartbeat(ctx, w)
		if err != nil {
			c.t.Error(err)
		}
		if !orders.Stop {
			continue
		}
		if err := c.store.Deregister(ctx, w.ID); err != nil {
			c.t.Error(err)
		}
		c.running = append(c.running[:i:i], c.running[i+1:]...)
		c.fewest = min(c.fewest, len(c.running))
		if c.successors--; c.successors >= 0 {
			c.started++
			w.ID, w.Started = fmt.Sprint("w", c.started), time.Now()
			c.enlist(w)
		}
		return
	}
}

// ids are the workers that run.
func (c *crew) ids() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []string
	for _, w := range c.running {
		ids = append(ids, w.ID)
	}
	return strings.Join(ids, " ")
}

// run runs a command line on the crew's store.
func (c *crew) run(args ...string) (stderr string, code int) {
	c.t.Helper()
	var out, errs strings.Builder
	code = cli.Run(c.t.Context(), cli.App{Name: "shop"}, cli.IO{
		Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		Environ: []string{"POSTHORN_STORE=" + c.dsn},
	})
	return errs.String(), code
}

func TestRestartWaitsUntilEachHasASuccessorOfItsOwn(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 3, 3)
	text, code := c.run("restart-workers", "mail", "--wait", "--timeout", "30s")
	if code != 0 || !strings.Contains(text, "replaced: 3 workers") || c.ids() != "w4 w5 w6" {
		t.Errorf("code %d, running %s\n%s", code, c.ids(), text)
	}
}

func TestRollingRestartReplacesOneAfterTheOther(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 3, 3)
	text, code := c.run("restart-workers", "--rolling", "--timeout", "30s")
	if code != 0 || !strings.Contains(text, "replaced 3 of 3: w3") || c.ids() != "w4 w5 w6" || c.fewest != 2 {
		t.Errorf("code %d, running %s, at least %d\n%s", code, c.ids(), c.fewest, text)
	}
}

func TestRollingRestartStopsWhereNothingSupervises(t *testing.T) {
	t.Parallel()
	for successors, want := range map[int]struct {
		code    int
		running string
	}{0: {1, "w2 w3"}, 1: {4, "w3 w4"}} {
		c := newCrew(t, 3, successors)
		text, code := c.run("restart-workers", "--rolling", "--timeout", "2s")
		if code != want.code || c.ids() != want.running || !strings.Contains(text, "E-NO-SUCCESSOR") ||
			!strings.Contains(text, "nothing seems to supervise it: w") {
			t.Errorf("code %d, running %s, want %+v\n%s", code, c.ids(), want, text)
		}
	}
}

func TestAWorkerOfAnotherProgramOrHostIsNoSuccessor(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 1, 0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c.ids() != "" {
			time.Sleep(time.Millisecond)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.enlist(driver.WorkerRecord{ID: "x1", Program: "mail", Host: "elsewhere", State: "running", Started: time.Now()})
		c.enlist(driver.WorkerRecord{ID: "x2", Program: "web", Host: "host1", State: "running", Started: time.Now()})
		c.enlist(driver.WorkerRecord{ID: "x3", Program: "mail", Host: "host1", State: "stopping", Started: time.Now()})
	}()
	text, code := c.run("restart-workers", "--wait", "--timeout", "2s")
	<-done
	if code != 1 || !strings.Contains(text, "E-NO-SUCCESSOR") {
		t.Errorf("code %d\n%s", code, text)
	}
}

func TestStopReachesOnlyWhoIsMeant(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 3, 0)
	text, code := c.run("stop-workers", "--id", "w2", "--host", "host0", "--wait", "--timeout", "30s")
	if code != 0 || !strings.Contains(text, "ended: 1 worker") || c.ids() != "w1 w3" {
		t.Errorf("code %d, running %s\n%s", code, c.ids(), text)
	}
}
