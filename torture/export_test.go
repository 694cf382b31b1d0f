package torture

import (
	"time"

	"github.com/posthorn/posthorn"
)

// Patience is how a run waits for what is left.
type Patience struct{ *patience }

// NewPatience begins to wait.
func NewPatience(now time.Time) Patience { return Patience{newPatience(now, DefaultStuck)} }

// Look says why there is no use in waiting on, when these are left.
func (p Patience) Look(now time.Time, turns int, ids ...string) string {
	live := map[string]int{}
	for _, id := range ids {
		live[id] = 1
	}
	return p.look(now, live, turns)
}

// LookAway is that nobody knows what is left.
func (p Patience) LookAway(now time.Time) string { return p.look(now, nil, 0) }

// Soonest is how long after it was sent a message starts that has spent so many attempts.
func Soonest(p posthorn.RetryPolicy, attempts int) time.Duration { return soonest(p, attempts) }

// Policy is how often the messages of a run are tried again.
func Policy(retries int) posthorn.RetryPolicy { return policy(retries) }
