package worker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/worker"
)

// What an error says of its fault is known only where the error is.
func TestADeadLetterHasTheFingerprintThatItsErrorAsksForAndTheWorkersBuild(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	for range 3 {
		dispatch(t, s, job{})
	}
	calls := 0
	r := start(t, s, handle(func(context.Context, job) error {
		calls++
		err := errors.New([]string{"", "the bank says no", "the teller is ill", "no money"}[calls])
		if calls < 3 {
			err = posthorn.WithFingerprint(err, "bank")
		}
		return posthorn.Reject(fmt.Errorf("pay: %w", err))
	}), worker.Options{Concurrency: 1, Version: "1.2.3"})
	r.until(3, verdict(driver.Bury))
	ls, err := s.Letters(t.Context(), store.LetterFilter{})
	if err != nil || len(ls) != 3 {
		t.Fatal(ls, err)
	}
	a, b, c := ls[0], ls[1], ls[2]
	if a.Fingerprint != b.Fingerprint || a.Fingerprint == c.Fingerprint || a.Fingerprint == "" || a.Build != "1.2.3" {
		t.Errorf("fingerprints %s, %s, %s, build %q", a.Fingerprint, b.Fingerprint, c.Fingerprint, a.Build)
	}
}
