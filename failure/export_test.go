package failure

import (
	"time"

	"github.com/posthorn/posthorn/store"
)

// Pauses is how long an executor with a lease waits after each of some steps, which take a
// millisecond each.
func Pauses(lease time.Duration, steps ...store.Advance) (out []time.Duration) {
	h, o := &hold{}, ExecutorOptions{Lease: lease}.withDefaults()
	for _, a := range steps {
		out = append(out, h.pause(a, time.Millisecond, o))
	}
	return out
}
