package failure_test

import (
	"slices"
	"testing"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/store"
)

func TestAQueueIsHeardOfWhereverItIsKnown(t *testing.T) {
	s := open(t, "SQLite", store.Options{})
	dispatch(t, s, "filled", 1)
	_, err := s.Pause(t.Context(), store.Pause{Queue: "paused", Reason: "r", Actor: "a"})
	try(t, err)
	_, err = s.Heartbeat(t.Context(), driver.WorkerRecord{ID: "w", Queues: []string{"consumed"}})
	try(t, err)
	declared := []string{"b", "a"}
	for _, queue := range []string{"a", "paused", "consumed", "filled"} {
		names, known, err := failure.HeardOf(t.Context(), s, declared, queue)
		if err != nil || !known || !slices.Contains(names, queue) {
			t.Errorf("%s is known: %v, %v; the names are %q", queue, known, err, names)
		}
	}
	names, known, err := failure.HeardOf(t.Context(), s, declared, "nowhere")
	if want := []string{"a", "b", "consumed", "filled", "paused"}; err != nil || known || !slices.Equal(names, want) {
		t.Errorf("nowhere is known: %v, %v; the names are %q, want %q", known, err, names, want)
	}
}
