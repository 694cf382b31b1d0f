package faulttest_test

import (
	"math/rand/v2"
	"testing"
	"time"
)

// whileLoaded lets the load run between two faults.
func whileLoaded(least time.Duration) { time.Sleep(least + rand.N(least)) }

// D-1.
func TestAKilledServerLosesAndDoublesNothing(t *testing.T) {
	onEachKind(t, func(t *testing.T, k kind) {
		r := newRig(t, k, k.with(nil))
		r.work(r.server.Addr())
		r.load(r.server.Addr())
		kills := times(6, 20)
		for range kills {
			whileLoaded(300 * time.Millisecond)
			if err := r.server.Kill(); err != nil {
				t.Fatal(err)
			}
			whileLoaded(100 * time.Millisecond)
			if err := r.server.Start(); err != nil {
				t.Fatal(err)
			}
			r.healed()
		}
		r.settle(kills)
	})
}

// D-4. The server is silent for less than a lease, and in the long form for
// more than that, too.
func TestAFrozenServerIsWaitedFor(t *testing.T) {
	onEachKind(t, func(t *testing.T, k kind) {
		r := newRig(t, k, k.with(nil))
		r.work(r.server.Addr())
		r.load(r.server.Addr())
		spells := []time.Duration{2 * time.Second, lease + 2*time.Second}
		if *long {
			spells = append(spells, 25*time.Second, time.Minute)
		}
		for _, spell := range spells {
			whileLoaded(300 * time.Millisecond)
			if err := r.server.Pause(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(spell)
			if err := r.server.Resume(); err != nil {
				t.Fatal(err)
			}
			r.healed()
		}
		r.settle(len(spells))
	})
}

// D-6. The server refuses to write, as one that was demoted does.
func TestAReadOnlyServerCostsNoAttempt(t *testing.T) {
	onEachKind(t, func(t *testing.T, k kind) {
		r := newRig(t, k, k.with(nil))
		r.work(r.server.Addr())
		r.load(r.server.Addr())
		spells := times(3, 10)
		for range spells {
			whileLoaded(300 * time.Millisecond)
			r.exec(k.readOnly...)
			whileLoaded(time.Second)
			r.exec(k.writable...)
			r.healed()
		}
		r.settle(spells)
	})
}
