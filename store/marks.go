package store

import (
	"time"

	"github.com/posthorn/posthorn/driver"
)

// A database that keeps what was deleted until it is cleaned up leaves dead rows
// where the claims begin: each claim would walk over all of them. So a consumer
// remembers for each priority up to which due time it has taken everything, and
// starts there. What comes to stand before that, because it was committed late or
// given back, is found by a claim from the start, which is due every now and then.

// Bounds of the time between two claims from the start. It grows with their cost,
// so that they cost a twentieth of the time at most.
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

// marks are the marks of one queue. They are a consumer's own.
type marks struct {
	at   []Mark // the highest priority first
	from time.Time
	cost time.Duration
	back int64 // Store.behind at that time

	// least is the shortest time between two claims from the start. Where a consumer looks
	// first, it is zero, and the cost is that of a look: to begin at marks is a longer
	// statement, which is of no use while little stands before them.
	least time.Duration
	asked int64 // Store.behind when it was last said that a claim is to begin at the start
}

// use returns the marks for the next claim or look; none: it is to begin at the start, until
// note learns that one did. poll is the longest time for which something may be left behind.
func (m *marks) use(poll time.Duration, behind int64) []Mark {
	if m.back != behind || time.Since(m.from) >= max(m.least, min(poll, wholeShare*m.cost)) {
		m.asked = behind
		return nil
	}
	return m.at
}

// note learns from a claim of at most limit messages, in their order: those of the
// last priority were cut off if the limit was reached, the others are all taken.
func (m *marks) note(ds []driver.Delivery, limit int, whole bool) {
	if whole {
		m.from, m.back = time.Now(), m.asked
	}
	for i, d := range ds {
		if last := i == len(ds)-1; !last && ds[i+1].Priority == d.Priority {
			continue
		}
		m.set(Mark{d.Priority, d.NotBefore.UnixMilli()}, len(ds) >= limit && i == len(ds)-1)
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
