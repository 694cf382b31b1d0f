package cli_test

import (
	"context"
	"sync"

	"github.com/posthorn/posthorn/worker"
)

// swell is a message whose handler keeps memory until the process has so much.
type swell struct {
	To int64 `json:"to"`
}

// Kind is its stable name.
func (swell) Kind() string { return "swell" }

// hoard is what the handlers of swell keep.
type hoard struct {
	mu   sync.Mutex
	kept [][]byte
}

func (h *hoard) grow(_ context.Context, m swell) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for worker.ResidentMemory() < m.To {
		part := make([]byte, 1<<20)
		for i := range part {
			part[i] = byte(i)
		}
		h.kept = append(h.kept, part)
	}
	return nil
}
