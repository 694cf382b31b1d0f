package store_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
)

// What one consumer spares, others of its process spare for as long, and for no longer than they would
// by themselves; and only who has spared for as long as another one is not to do so again.
func TestAReprieveIsHeededForTheShorterOfTwoLeases(t *testing.T) {
	t.Parallel()
	s, err := sqlite.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "a.db"), store.Options{})
	try(t, err)
	t.Cleanup(func() { _ = s.Close() })
	const minute = time.Minute
	for _, c := range []struct {
		ago, theirs, mine time.Duration
		lasts, again      bool
	}{
		{ago: 0, theirs: minute, mine: minute, lasts: true, again: true},
		{ago: minute * 3 / 4, theirs: minute, mine: minute, lasts: false, again: true},
		{ago: minute * 3 / 2, theirs: minute, mine: minute, lasts: false, again: false},
		{ago: minute * 3 / 4, theirs: minute, mine: 10 * minute, lasts: false, again: false},
		{ago: minute / 4, theirs: minute, mine: 10 * minute, lasts: true, again: false},
		{ago: minute * 3 / 4, theirs: 10 * minute, mine: minute, lasts: false, again: true},
		{ago: minute / 4, theirs: 10 * minute, mine: minute, lasts: true, again: true},
	} {
		consumer, err := s.Consume(t.Context(), driver.Subscription{Queues: []string{"q"}, Lease: c.mine, Worker: "w"})
		try(t, err)
		s.Reprieve(time.Now().Add(-c.ago), c.theirs)
		if lasts, again := store.Spares(consumer); lasts != c.lasts || again != c.again {
			t.Errorf("%s after %s spared for leases of %s: %t, %t", c.mine, c.ago, c.theirs, lasts, again)
		}
		try(t, consumer.Close())
	}
}
