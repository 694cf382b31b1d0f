package finetimer

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Both clocks fire once for each Reset, not before its time, and not after Stop.
func TestATimerFiresOnceAfterItsTime(t *testing.T) {
	t.Parallel()
	fired := make(chan struct{}, 1)
	fire := func() { fired <- struct{}{} }
	for name, timer := range map[string]*Timer{
		"system": New(), "plain": {C: fired, clock: newPlain(fire)},
	} {
		for range 20 {
			began := time.Now()
			timer.Reset(300 * time.Microsecond)
			<-timer.C
			if took := time.Since(began); took < 300*time.Microsecond {
				t.Errorf("%s: fired after %v", name, took)
			}
		}
		timer.Reset(time.Hour)
		timer.Reset(time.Millisecond) // instead
		<-timer.C
		timer.Reset(50 * time.Millisecond)
		timer.Stop()
		select {
		case <-timer.C:
			t.Errorf("%s: fired although it was stopped", name)
		case <-time.After(100 * time.Millisecond):
		}
		timer.Close()
		timer.Close()
		timer.Reset(time.Microsecond) // does no harm
	}
}
