package torture_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/torture"
)

// Messages that an operation puts back, one after the other, are progress: the letters that
// wait for their turn become less.
func TestARunWaitsForAnOperationThatGoesOn(t *testing.T) {
	now := time.Now()
	p := torture.NewPatience(now)
	for left := 300; left > 0; left-- {
		now = now.Add(time.Minute)
		if why := p.Look(now, left, fmt.Sprint("m", left)); why != "" {
			t.Fatalf("with %d letters: %s", left, why)
		}
	}
	p.Look(now, 0)
	for left := 40; left > 0; left-- { // one more operation, on as many letters as before
		now = now.Add(time.Minute)
		if why := p.Look(now, left, fmt.Sprint("n", left)); why != "" {
			t.Fatalf("with %d letters of another operation: %s", left, why)
		}
	}
}

func TestARunThatMakesNoProgressEndsAndNamesWhatIsLeft(t *testing.T) {
	now := time.Now()
	p := torture.NewPatience(now)
	p.Look(now, 2, "a", "b")
	if why := p.Look(now.Add(110*time.Second), 2, "a", "b"); why != "" {
		t.Errorf("too soon: %s", why)
	}
	if why := p.Look(now.Add(130*time.Second), 2, "a", "b"); !strings.Contains(why, "a, b") {
		t.Errorf("it says %q", why)
	}
	if why := torture.NewPatience(now).LookAway(now.Add(time.Hour)); why == "" {
		t.Error("it waits for ever for a store that is away")
	}
}

func TestWhatGoesOnHidesNoMessageThatIsStuck(t *testing.T) {
	now := time.Now()
	p := torture.NewPatience(now)
	for left := 200; left > 0; left-- {
		now = now.Add(time.Second)
		why := p.Look(now, left, "stuck", fmt.Sprint("m", left))
		if why == "" {
			continue
		}
		if !strings.Contains(why, "stuck") || strings.Contains(why, "m1") {
			t.Errorf("it says %q", why)
		}
		return
	}
	t.Error("nothing was said of the one that is stuck")
}

// A backlog is not stuck while something of it goes.
func TestABacklogThatBecomesLessIsWaitedFor(t *testing.T) {
	now := time.Now()
	p := torture.NewPatience(now)
	var ids []string
	for n := range 100 {
		ids = append(ids, fmt.Sprint("m", n))
	}
	for ; len(ids) > 0; ids = ids[1:] {
		now = now.Add(time.Minute)
		if why := p.Look(now, 0, ids...); why != "" {
			t.Fatalf("with %d messages: %s", len(ids), why)
		}
	}
}
