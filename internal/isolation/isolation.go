// Package isolation decides, for a supervisor, which messages may have killed a worker,
// and when a process is there for those that are suspected of it. It is pure: up carries
// it out, and so does the simulator's supervisor.
package isolation

import (
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/flight"
	"github.com/posthorn/posthorn/supervisor"
)

// Every is how often a supervisor looks for suspects that it did not make: those of
// other hosts.
const Every = time.Second

// Idle is after how long without suspects their process ends.
const Idle = 5 * time.Second

// Left reports whether a worker that ended may have left messages behind: one that ended
// well has given everything back, and one without an id never had any.
func Left(worker string, clean bool) bool { return worker != "" && !clean }

// Death is what a flight record, or the error of reading it, says of a worker's death.
func Death(worker string, alone bool, rec flight.Record, err error) driver.Death {
	d := driver.Death{Worker: worker, Alone: alone}
	if err != nil || !rec.Complete {
		return d // nobody knows what had begun
	}
	d.Begun = make([]driver.Token, 0, len(rec.Running)) // never nil: none is not nobody knows
	for _, entry := range rec.Running {
		d.Begun = append(d.Begun, entry.Token)
	}
	return d
}

// A Watch remembers when there were suspects last. The zero Watch has seen none.
type Watch struct{ last time.Time }

// Step tells whether there are suspects now, and returns how many processes are to be
// there for them.
func (w Watch) Step(suspects bool, now time.Time) (Watch, int) {
	if suspects {
		w.last = now
	}
	if now.Sub(w.last) < Idle {
		return w, 1
	}
	return w, 0
}

// Backoff spaces the starts of a process that runs suspects: it is there to die, so it
// is started again soon.
func Backoff() supervisor.Backoff {
	return supervisor.Backoff{Min: 50 * time.Millisecond, Max: 200 * time.Millisecond, Healthy: time.Second}
}

// Loop says which of its failures are a crash loop.
func Loop() supervisor.Loop { return supervisor.Loop{Failures: 100, Within: time.Minute} }
