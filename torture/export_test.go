package torture

import "time"

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
