package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

func (s *session) restartCommand() *cobra.Command {
	var which workerFlags
	var f waitFlags
	var rolling bool
	cmd := &cobra.Command{
		Use: "restart-workers [PROGRAM]", Short: "Replace workers by fresh ones",
		Long: `Ask workers, on every host, to finish what they have in hand and end, so that whatever supervises them starts
successors. With --wait the command ends when each has one: another worker of the same program on the same host. With
--rolling they are replaced one after the other, each when the one before it has its successor; where none comes, the
others are left alone.`,
		Example: s.example(`
			restart-workers
			restart-workers messenger-consume --rolling
			restart-workers --host web1 --wait --timeout 2m`),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range args {
				which.program = name
			}
			st, err := s.existing(cmd.Context())
			if err != nil {
				return err
			}
			r := &restart{s: s, store: st, which: which, wait: f.wait, timeout: f.timeout}
			if rolling {
				return r.roll(cmd.Context())
			}
			return r.together(cmd.Context())
		},
	}
	which.defineRest(cmd)
	cmd.Flags().BoolVar(&rolling, "rolling", false, "one after the other; --timeout is for each")
	group(cmd, "How", "rolling")
	f.define(cmd, "wait until each has a successor, and say who has not")
	return cmd
}

// A restart is one run of restart-workers.
type restart struct {
	s       *session
	store   *store.Store
	which   workerFlags
	wait    bool
	timeout time.Duration
}

// together replaces all at once.
func (r *restart) together(ctx context.Context) error {
	known, err := r.known(ctx)
	if err != nil {
		return err
	}
	asked, err := r.store.OrderWorkers(ctx, r.which.filter(), driver.OrderStop)
	switch {
	case err != nil:
		return err
	case len(asked) == 0:
		return r.s.noSuchWorker()
	case !r.wait:
		r.s.say("asked %s to stop; what supervises them starts their successors\n", plural(len(asked), "worker"))
		return nil
	}
	if err := r.replace(ctx, asked, known); err != nil {
		return err
	}
	r.s.say("replaced: %s\n", plural(len(asked), "worker"))
	return nil
}

// roll replaces one after the other.
func (r *restart) roll(ctx context.Context) error {
	running, err := runningWorkers(ctx, r.store)
	if err != nil {
		return err
	}
	running = slices.DeleteFunc(running, func(w driver.WorkerRecord) bool { return !r.which.filter().Matches(w) })
	if len(running) == 0 {
		return r.s.noSuchWorker()
	}
	done := 0
	for i, w := range running {
		known, err := r.known(ctx)
		if err != nil {
			return err
		}
		asked, err := r.store.OrderWorkers(ctx, store.WorkerFilter{IDs: []string{w.ID}}, driver.OrderStop)
		if err != nil {
			return err
		}
		if len(asked) == 0 { // it has ended by itself
			continue
		}
		if err := r.replace(ctx, asked, known); err != nil {
			return partly(err, done)
		}
		done++
		r.s.say("replaced %d of %d: %s\n", i+1, len(running), w.ID)
	}
	return nil
}

// partly is an error after some have been replaced.
func partly(err error, done int) error {
	if f, ok := err.(*fault); ok && done > 0 { //nolint:errorlint // it is not wrapped
		f.Exit = exitPartly
		f.What += fmt.Sprintf("; %s before it %s replaced", plural(done, "worker"), wasWere(done))
	}
	return err
}

func wasWere(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

// known are the ids of all workers that are registered now: none of them is a
// successor.
func (r *restart) known(ctx context.Context) (map[string]bool, error) {
	all, _, err := r.store.Workers(ctx)
	known := make(map[string]bool, len(all))
	for _, w := range all {
		known[w.ID] = true
	}
	return known, err
}

// replace waits until those that were asked have ended, and have successors.
func (r *restart) replace(ctx context.Context, asked []driver.WorkerRecord, known map[string]bool) error {
	began := time.Now()
	if err := r.s.awaitEnd(ctx, r.store, asked, r.timeout); err != nil {
		return err
	}
	left, err := r.s.await(ctx, r.timeout-time.Since(began), len(asked),
		func(ctx context.Context) ([]driver.WorkerRecord, error) {
			now, err := runningWorkers(ctx, r.store)
			return withoutSuccessor(asked, now, known), err
		})
	if err != nil || len(left) == 0 {
		return err
	}
	return &fault{
		Code: "E-NO-SUCCESSOR", Title: "no successor has started", Exit: exitFailed,
		What: fmt.Sprintf("ended, and nothing seems to supervise it: %s", namesOf(left)),
		Try:  "start one with " + r.s.app.Name + " up, and let a supervisor keep it; or wait longer with --timeout",
	}
}

// workerRunning is the state of a worker that takes messages.
const workerRunning = "running"

// withoutSuccessor are the workers that have ended and for which no other one of
// their program runs on their host that was not known before. Each needs its own.
func withoutSuccessor(ended, now []driver.WorkerRecord, known map[string]bool) (left []driver.WorkerRecord) {
	fresh := slices.DeleteFunc(slices.Clone(now), func(w driver.WorkerRecord) bool {
		return known[w.ID] || w.State != workerRunning || w.Told != driver.OrderNone
	})
	for _, w := range ended {
		i := slices.IndexFunc(fresh, func(f driver.WorkerRecord) bool { return f.Program == w.Program && f.Host == w.Host })
		if i < 0 {
			left = append(left, w)
			continue
		}
		fresh = slices.Delete(fresh, i, i+1)
	}
	return left
}
