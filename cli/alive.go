package cli

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/driver"
)

func (s *session) aliveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "alive", Short: "Check that this host has a living worker; for liveness probes",
		Long: `Check that this host, or pod, has a living worker. Exit code 0: it has, or nobody can say; 1: the store can be
reached, and knows of none. An unreachable store is no failure here, since a restart of the worker would not mend it:
that is what health is for.`,
		Example: s.example(`
			alive
			alive --config /etc/posthorn/posthorn.yaml`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.alive(cmd.Context()) },
	}
}

func (s *session) alive(ctx context.Context) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find host's name: %w", err)
	}
	if _, err := s.config(); err != nil {
		return err
	}
	st, err := s.existing(ctx)
	var here []driver.WorkerRecord
	if err == nil {
		here, err = runningWorkers(ctx, st)
	}
	if err != nil {
		s.print("unknown: the store does not say: %s\n", s.explainAny(err).Title)
		return nil
	}
	here = slices.DeleteFunc(here, func(w driver.WorkerRecord) bool { return w.Host != host })
	if len(here) == 0 {
		s.print("no living worker on %s\n", host)
		return outcome(exitFailed)
	}
	s.print("%s on %s\n", plural(len(here), "living worker"), host)
	return nil
}
