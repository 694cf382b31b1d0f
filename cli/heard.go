package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/posthorn/posthorn/store"
)

// heardOf looks for a queue among those that the configuration declares, that a worker of
// any host has said it consumes, and that hold a message or a dead letter. It looks in the
// cheapest place first; when it finds none, names are all that there are.
func (s *session) heardOf(
	ctx context.Context, st *store.Store, queue string,
) (names []string, known bool, err error) {
	cfg, err := s.config()
	if err != nil {
		return nil, false, err
	}
	for _, t := range cfg.Transports {
		names = append(names, t.Queues...)
	}
	if slices.Contains(names, queue) {
		return names, true, nil
	}
	workers, _, err := st.Workers(ctx)
	if err != nil {
		return nil, false, err
	}
	for _, w := range workers {
		names = append(names, w.Queues...)
	}
	if slices.Contains(names, queue) {
		return names, true, nil
	}
	all, err := st.Stats(ctx)
	for _, q := range all {
		names = append(names, q.Queue)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return names, slices.Contains(names, queue), err
}

// queueUnknown says what is odd about a queue.
const queueUnknown = "no configuration read here declares queue %s, no worker consumes it, and nothing is in it"

// knownTarget warns of a queue that nobody has heard of, and asks whether it is meant: what
// is put there waits until a worker is told to consume it, and no command takes it back.
func (s *session) knownTarget(ctx context.Context, st *store.Store, to string, yes bool) error {
	if to == "" {
		return nil
	}
	names, known, err := s.heardOf(ctx, st, to)
	if err != nil || known {
		return err
	}
	s.say(queueUnknown+"; %s\n", to, meant(to, names, "the queues are "+strings.Join(names, ", ")))
	return s.confirm(fmt.Sprintf("put them on queue %s nevertheless?", to), yes)
}
