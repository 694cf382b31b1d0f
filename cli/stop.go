package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// workerSilence is after how long without a heartbeat a worker counts as dead.
const workerSilence = 30 * time.Second

// alive reports whether a worker has been heard of lately.
func alive(w driver.WorkerRecord, now time.Time) bool { return now.Sub(w.Seen) <= workerSilence }

func (s *session) stopCommand() *cobra.Command {
	var wait bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "stop-workers", Short: "Ask all workers to finish and end",
		Long: `Ask every worker of the store, on every host, to take no more, finish what it has in hand and end. Workers obey
at their next heartbeat, within seconds. Run it after a deploy: whatever supervises the workers starts new ones.`,
		Example: s.example(`
			stop-workers
			stop-workers --wait --timeout 2m`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.stopWorkers(cmd.Context(), wait, timeout) },
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until they have ended, and say who has not")
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long to wait at most")
	group(cmd, "Waiting", "wait", "timeout")
	return cmd
}

func (s *session) stopWorkers(ctx context.Context, wait bool, timeout time.Duration) error {
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	running, err := runningWorkers(ctx, st)
	if err != nil {
		return err
	}
	if _, err := st.StopWorkers(ctx); err != nil {
		return err
	}
	switch {
	case len(running) == 0:
		s.say("no worker is running\n")
		return nil
	case !wait:
		s.say("asked %s to stop; they end when they have finished what is in hand\n", plural(len(running), "worker"))
		return nil
	}
	return s.awaitEnd(ctx, st, running, timeout)
}

func runningWorkers(ctx context.Context, st *store.Store) ([]driver.WorkerRecord, error) {
	all, now, err := st.Workers(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(w driver.WorkerRecord) bool { return !alive(w, now) }), nil
}

// awaitEnd waits for the workers that were asked, not for their successors.
func (s *session) awaitEnd(
	ctx context.Context, st *store.Store, asked []driver.WorkerRecord, timeout time.Duration,
) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	defer cancel()
	left, told := asked, ""
	for len(left) > 0 {
		names := make([]string, len(left))
		for i, w := range left {
			names[i] = fmt.Sprintf("%s (%s on %s, pid %d)", w.ID, w.Program, w.Host, w.PID)
		}
		if list := strings.Join(names, ", "); list != told {
			s.say("waiting for %d of %d: %s\n", len(left), len(asked), list)
			told = list
		}
		pause(ctx, 200*time.Millisecond)
		if ctx.Err() != nil {
			return stillRunning(ctx, left, len(asked))
		}
		now, err := runningWorkers(ctx, st)
		if err != nil {
			return err
		}
		left = slices.DeleteFunc(slices.Clone(asked), func(w driver.WorkerRecord) bool {
			return !slices.ContainsFunc(now, func(n driver.WorkerRecord) bool { return n.ID == w.ID })
		})
	}
	s.say("ended: %s\n", plural(len(asked), "worker"))
	return nil
}

// errTimeout is the cause of a wait that took too long.
var errTimeout = fmt.Errorf("waited long enough: %w", context.DeadlineExceeded)

func stillRunning(ctx context.Context, left []driver.WorkerRecord, asked int) error {
	f := &fault{
		Code: "E-STILL-RUNNING", Title: "some workers have not ended", Exit: exitPartly,
		What: fmt.Sprintf("%d of %d run on: %s", len(left), asked, context.Cause(ctx)),
		Try:  "wait longer with --timeout; the order stands",
	}
	if len(left) == asked {
		f.Exit = exitFailed
	}
	return f
}

// pause waits, unless the context ends before.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
