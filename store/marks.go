package store

import (
	"math"
	"slices"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// A database that keeps what was deleted until it is cleaned up leaves dead rows
// where the claims begin: each claim would walk over all of them. So a consumer
// remembers for each priority up to which due time it has taken everything, and
// starts there. What comes to stand before that, because it was committed late or
// given back, is found by a claim that begins at the start, one of which is due every now and then, or
// aside, where such a claim would take long (survey.go).

// Bounds of the time between two claims from the start. It grows with their cost: they
// take one part in wholeShare of the time at most.
const (
	wholeEvery = 50 * time.Millisecond
	wholeShare = 20
)

// maxMarks bounds the priorities that are remembered.
const maxMarks = 32

// A Mark says that all of a priority that was due before has been taken.
type Mark struct {
	Priority int
	Due      int64
}

// An approach is where a claim or a look begins.
type approach struct {
	marks  []Mark // none: at the start, where it finds what was left behind
	behind int64  // Store.behind before
	oldest int64  // the first transaction of which it may not see what it has done; 0: unknown
}

// whole reports whether it begins at the start.
func (a approach) whole() bool { return len(a.marks) == 0 }

// A debt is what a claim was to look for before the marks, and had no room for.
type debt struct {
	owed  bool
	below int // in the priorities below this one
}

// marks are the marks of one queue. They are a consumer's own.
type marks struct {
	at    []Mark // the highest priority first
	debt  debt
	from  time.Time     // when it was last looked for what was left behind
	chain time.Time     // when that last began at the start, but for rounds that make pauses
	cost  time.Duration // of a look from the start
	back  int64         // Store.behind at from

	// Where that is dear:
	survey  *survey // looks for it; nil: none runs
	round   round   // of surveys
	again   bool    // the line was lost since it began: another one is to follow
	former  []Mark  // where marks were that have gone back
	moments moments // in which they began
	oldest  int64   // the first transaction of which the last one may not have seen what it has done; 0: unknown

	// least is the shortest time between two claims from the start. Where a consumer looks
	// first, it is zero, and the cost is that of a look: to begin at marks is a longer
	// statement, which is of no use while little stands before them.
	least time.Duration
}

// use returns where the next claim or look is to begin. poll is the longest time for which
// something may be left behind, and share how many times its cost lies between two from the start.
func (m *marks) use(poll, share time.Duration, behind int64) approach {
	if m.back != behind || time.Since(m.from) >= max(m.least, min(poll, share*m.cost)) {
		return approach{behind: behind}
	}
	return approach{marks: m.searched(), behind: behind}
}

// dear reports whether a claim from the start costs more than its share of the time, if
// there is one in each poll.
func (m *marks) dear(poll, share time.Duration) bool { return share*m.cost > poll }

// searched are the marks, less what is owed.
func (m *marks) searched() []Mark {
	if !m.debt.owed {
		return m.at
	}
	own := slices.IndexFunc(m.at, func(k Mark) bool { return k.Priority < m.debt.below })
	if own < 0 {
		return m.at
	}
	return m.at[:own]
}

// earlier are the marks that both have, each where it is earlier.
func earlier(at, other []Mark) (out []Mark) {
	for _, a := range at {
		i := slices.IndexFunc(other, func(b Mark) bool { return b.Priority == a.Priority })
		if i >= 0 {
			out = append(out, Mark{a.Priority, min(a.Due, other[i].Due)})
		}
	}
	return out
}

// note learns from claims of at most limit messages together, in their order: those of the
// last priority were cut off if the limit was reached, the others are all taken.
func (m *marks) note(ds []driver.Delivery, limit int, a approach) {
	if a.whole() {
		m.from, m.back, m.oldest = time.Now(), a.behind, a.oldest
		m.chain, m.round, m.again = m.from, round{}, false
	}
	cut := len(ds) >= limit
	for i := range ds {
		d := &ds[i]
		if last := i == len(ds)-1; !last && ds[i+1].Priority == d.Priority {
			continue
		}
		m.set(Mark{d.Priority, d.NotBefore.UnixMilli()}, cut && i == len(ds)-1)
	}
	if !cut {
		m.goForward(math.MinInt)
		m.debt = debt{}
		return
	}
	last := ds[len(ds)-1].Priority
	m.goForward(last)
	if a.whole() {
		m.debt = debt{owed: true, below: last}
	} else {
		m.debt.below = min(m.debt.below, last)
	}
}

// set moves a mark on, or back as well where the claim was cut off there.
func (m *marks) set(to Mark, back bool) {
	for i, old := range m.at {
		switch {
		case old.Priority == to.Priority:
			if back || to.Due > old.Due {
				m.at[i] = to
			}
			return
		case old.Priority < to.Priority:
			m.at = append(m.at[:i:i], append([]Mark{to}, m.at[i:]...)...)
			m.at = m.at[:min(len(m.at), maxMarks)]
			return
		}
	}
	if len(m.at) < maxMarks {
		m.at = append(m.at, to)
	}
}
