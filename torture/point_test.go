//go:build posthorn_failpoints

package torture_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/failpoint"
	"github.com/posthorn/posthorn/torture"
)

func TestARunLetsProcessesDieAtPoints(t *testing.T) {
	o := options(t)
	o.Store, o.Time, o.Messages = "sqlite:"+filepath.Join(t.TempDir(), "mine.db"), 20*time.Second, 0
	o.Faults = []torture.Fault{torture.DieAtPoint, torture.BadHandlers}
	r := run(t, o)
	deaths := 0
	for p, n := range r.Points {
		if !slices.Contains(failpoint.Points(), failpoint.Point(p)) {
			t.Errorf("%q is no point", p)
		}
		deaths += n
	}
	if deaths == 0 || deaths > r.Crew.Killed {
		t.Errorf("%d deaths at %v, and %d processes were killed", deaths, r.Points, r.Crew.Killed)
	}
}
