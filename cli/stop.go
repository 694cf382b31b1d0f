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

// alive reports whether a worker has been heard of lately.
func alive(w driver.WorkerRecord, now time.Time) bool { return now.Sub(w.Seen) <= store.WorkerSilence }

// workerFlags choose workers.
type workerFlags struct {
	ids           []string
	program, host string
}

func (f *workerFlags) define(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.program, "program", "", "only of this `program`")
	f.defineRest(cmd)
	group(cmd, "Which", "program")
}

func (f *workerFlags) defineRest(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.host, "host", "", "only on this `host`")
	cmd.Flags().StringSliceVar(&f.ids, "id", nil, "only these `workers`")
	group(cmd, "Which", "host", "id")
}

func (f workerFlags) filter() store.WorkerFilter {
	return store.WorkerFilter{IDs: f.ids, Program: f.program, Host: f.host}
}

// any reports whether a filter was given.
func (f workerFlags) any() bool { return f.program+f.host != "" || len(f.ids) > 0 }

// waitFlags say whether and how long to wait.
type waitFlags struct {
	wait    bool
	timeout time.Duration
}

func (f *waitFlags) define(cmd *cobra.Command, wait string) {
	cmd.Flags().BoolVar(&f.wait, "wait", false, wait)
	cmd.Flags().DurationVar(&f.timeout, "timeout", time.Minute, "how long to wait at most")
	group(cmd, "Waiting", "wait", "timeout")
}

func (s *session) stopCommand() *cobra.Command {
	var which workerFlags
	var f waitFlags
	cmd := &cobra.Command{
		Use: "stop-workers", Short: "Ask workers to finish and end",
		Long: `Ask the workers of the store, on every host, to take no more, finish what they have in hand and end. Workers
obey at their next heartbeat, within seconds. Run it after a deploy: whatever supervises the workers starts new ones.`,
		Example: s.example(`
			stop-workers
			stop-workers --wait --timeout 2m
			stop-workers --program messenger-consume --host web1`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.stopWorkers(cmd.Context(), which, f) },
	}
	which.define(cmd)
	f.define(cmd, "wait until they have ended, and say who has not")
	return cmd
}

func (s *session) stopWorkers(ctx context.Context, which workerFlags, f waitFlags) error {
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	asked, err := st.OrderWorkers(ctx, which.filter(), driver.OrderStop)
	switch {
	case err != nil:
		return err
	case len(asked) == 0 && which.any():
		return s.noSuchWorker()
	case len(asked) == 0:
		s.say("no worker is running\n")
		return nil
	case !f.wait:
		s.say("asked %s to stop; they end when they have finished what is in hand\n", plural(len(asked), "worker"))
		return nil
	}
	if err := s.awaitEnd(ctx, st, asked, f.timeout); err != nil {
		return err
	}
	s.say("ended: %s\n", plural(len(asked), "worker"))
	return nil
}

func (s *session) noSuchWorker() error {
	return &fault{
		Code: "E-NOTHING-MATCHED", Title: "nothing matched", What: "no running worker is meant by that", Exit: exitNothing,
		Try: s.app.Name + " workers list",
	}
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
	left, err := s.await(ctx, timeout, len(asked), func(ctx context.Context) ([]driver.WorkerRecord, error) {
		now, err := runningWorkers(ctx, st)
		return slices.DeleteFunc(slices.Clone(asked), func(w driver.WorkerRecord) bool {
			return !slices.ContainsFunc(now, func(n driver.WorkerRecord) bool { return n.ID == w.ID })
		}), err
	})
	if err != nil || len(left) == 0 {
		return err
	}
	f := &fault{
		Code: "E-STILL-RUNNING", Title: "some workers have not ended", Exit: exitPartly,
		What: fmt.Sprintf("%d of %d run on: %s", len(left), len(asked), namesOf(left)),
		Try:  "wait longer with --timeout; the order stands",
	}
	if len(left) == len(asked) {
		f.Exit = exitFailed
	}
	return f
}

// await looks again and again until nobody is left to wait for, and says whom it
// waits for when that changes. When the time is over it returns those who are left.
func (s *session) await(
	ctx context.Context, timeout time.Duration, of int,
	look func(context.Context) (left []driver.WorkerRecord, err error),
) ([]driver.WorkerRecord, error) {
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for told := ""; ; {
		left, err := look(ctx)
		if err != nil || len(left) == 0 {
			return nil, err
		}
		if list := namesOf(left); list != told {
			s.say("waiting for %d of %d: %s\n", len(left), of, list)
			told = list
		}
		if pause(waiting, 200*time.Millisecond); waiting.Err() != nil {
			return left, ctx.Err()
		}
	}
}

// namesOf lists workers so that they can be found.
func namesOf(ws []driver.WorkerRecord) string {
	names := make([]string, len(ws))
	for i, w := range ws {
		names[i] = fmt.Sprintf("%s (%s on %s, pid %d)", w.ID, w.Program, w.Host, w.PID)
	}
	return strings.Join(names, ", ")
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
