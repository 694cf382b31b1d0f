package store_test

import (
	"testing"
	"time"

	"github.com/posthorn/posthorn/store"
)

func TestAConsumerLooksLessOftenTheLongerNothingComes(t *testing.T) {
	t.Parallel()
	p := store.Pace{Fast: 5 * time.Millisecond, Slow: 250 * time.Millisecond}
	for quiet, want := range map[time.Duration]time.Duration{
		-time.Second:           5 * time.Millisecond, // the clock was set back
		0:                      5 * time.Millisecond,
		80 * time.Millisecond:  5 * time.Millisecond,
		160 * time.Millisecond: 10 * time.Millisecond,
		time.Second:            62500 * time.Microsecond,
		time.Hour:              250 * time.Millisecond,
	} {
		if got := p.After(quiet); got != want {
			t.Errorf("after %s without a message: %s, want %s", quiet, got, want)
		}
	}
	always := store.Pace{Fast: time.Second, Slow: time.Second}
	if got := always.After(time.Minute); got != time.Second {
		t.Errorf("a pace that does not adapt: %s", got)
	}
}
