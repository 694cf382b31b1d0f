package failure

import (
	"context"
	"fmt"
	"slices"

	"github.com/posthorn/posthorn/store"
)

// HeardOf looks for a queue among those that are declared, such as by the configuration of
// whoever asks, that are paused, that a worker of any host has said it consumes, and that
// hold a message or a dead letter. It looks in the cheapest place first; when it finds none,
// names are all that there are, in order. It reads only.
func HeardOf(
	ctx context.Context, st *store.Store, declared []string, queue string,
) (names []string, known bool, err error) {
	for _, place := range []func() ([]string, error){
		func() ([]string, error) { return declared, nil },
		func() ([]string, error) { return pausedQueues(ctx, st) },
		func() ([]string, error) { return consumedQueues(ctx, st) },
		func() ([]string, error) { return filledQueues(ctx, st) },
	} {
		more, err := place()
		if err != nil {
			return nil, false, err
		}
		names = append(names, more...)
		if slices.Contains(more, queue) {
			known = true
			break
		}
	}
	slices.Sort(names)
	return slices.Compact(names), known, nil
}

func pausedQueues(ctx context.Context, st *store.Store) (names []string, err error) {
	ps, _, err := st.Pauses(ctx)
	for _, p := range ps {
		names = append(names, p.Queue)
	}
	return names, err
}

func consumedQueues(ctx context.Context, st *store.Store) (names []string, err error) {
	workers, _, err := st.Workers(ctx)
	for _, w := range workers {
		names = append(names, w.Queues...)
	}
	return names, err
}

func filledQueues(ctx context.Context, st *store.Store) (names []string, err error) {
	all, err := st.Stats(ctx)
	for _, q := range all {
		names = append(names, q.Queue)
	}
	return names, err
}

// UnheardText says what is odd about a queue that HeardOf does not know.
func UnheardText(queue string) string {
	return fmt.Sprintf("no configuration read here declares queue %s, no worker consumes it, and nothing is in it", queue)
}
