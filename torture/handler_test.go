package torture_test

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/torture"
)

// What the policy of a run makes of a message that fails again and again is never sooner than
// what is promised of it, and would be found if its pauses were a third shorter.
func TestTheSoonestStartIsThatOfThePolicy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, sent := torture.Policy(50), time.Now()
		d := driver.Delivery{Deliveries: 1}
		d.ID = rapid.StringN(1, 20, -1).Draw(t, "id")
		at, hurried := sent, sent
		for range rapid.IntRange(1, 12).Draw(t, "attempts") {
			again := p.Decide(d, errors.New("away"), at)
			at, hurried = at.Add(again.Delay), hurried.Add(again.Delay*2/3)
			d.Attempt, d.Deliveries = d.Attempt+1, d.Deliveries+1
		}
		if least := torture.Soonest(p, d.Attempt); at.Sub(sent) < least || hurried.Sub(sent) >= least {
			t.Fatalf("after %d attempts it starts %s after it was sent, hurried %s; at the soonest %s",
				d.Attempt, at.Sub(sent), hurried.Sub(sent), least)
		}
	})
}

func TestWhatNeedsAPartnerThatIsAwayIsTriedAfterItsPausesAndDoneInTheEnd(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Store, o.Faults = "sqlite:"+filepath.Join(t.TempDir(), "a.db"), []torture.Fault{torture.Outage}
	o.Messages, o.Time = 0, 8*time.Second
	r, err := torture.Run(t.Context(), o)
	if err != nil || !r.Held() {
		t.Fatalf("report %+v, %v", r, err)
	}
	i := slices.IndexFunc(r.Faults, func(f torture.Recovery) bool { return f.Fault == torture.Outage })
	if i < 0 || r.Faults[i].Injected == 0 || r.Crew.Away == 0 {
		t.Errorf("faults %+v, processes %+v, messages %+v", r.Faults, r.Crew, r.Messages)
	}
}
