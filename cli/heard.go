package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/store"
)

// declaredQueues are the queues of the configuration.
func declaredQueues(cfg *config.Config) (names []string) {
	for _, t := range cfg.Transports {
		names = append(names, t.Queues...)
	}
	return names
}

// heardOf looks for a queue wherever one may be known.
func (s *session) heardOf(
	ctx context.Context, st *store.Store, queue string,
) (names []string, known bool, err error) {
	cfg, err := s.config()
	if err != nil {
		return nil, false, err
	}
	return failure.HeardOf(ctx, st, declaredQueues(cfg), queue)
}

// knownQueues makes sure that somebody has heard of queues: to pause one whose name was
// mistyped would do nothing.
func (s *session) knownQueues(ctx context.Context, st *store.Store, queues ...string) error {
	for _, queue := range queues {
		names, known, err := s.heardOf(ctx, st, queue)
		if err != nil {
			return err
		}
		if !known {
			return unheard(queue, names)
		}
	}
	return nil
}

// unheard says that nobody has heard of a queue, and which there are.
func unheard(queue string, names []string) error {
	return &fault{
		Code: "E-NOTHING-MATCHED", Title: "no such queue", What: failure.UnheardText(queue), Exit: exitNothing,
		Try: meant(queue, names, "the queues are "+strings.Join(names, ", ")),
	}
}

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
	s.say("%s; %s\n", failure.UnheardText(to), meant(to, names, "the queues are "+strings.Join(names, ", ")))
	return s.confirm(fmt.Sprintf("put them on queue %s nevertheless?", to), yes)
}
