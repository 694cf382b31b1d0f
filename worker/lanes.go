package worker

import "time"

// Lanes run transactions side by side. Two begin with whatever there is: a message that comes alone
// is committed at once. While these are at work, others wait for some more effects, since a
// transaction costs as much for one as for some. They do not wait for long, since how long the
// effects of the two take nobody knows.
const (
	lanesAtOnce = 2
	someUnits   = 16
	unitsWithin = 2 * time.Millisecond
)

// A lanes holds the effects that wait for a transaction, and knows how many lanes are in one.
type lanes struct {
	mailbox[*parcel]
	busy int
}

// next waits for effects, and returns at most limit of them, with which the lane is busy until it is
// back. It returns nothing once the mailbox is closed and empty.
func (l *lanes) next(limit int) []*parcel {
	l.mu.Lock()
	defer l.mu.Unlock()
	waits, late := false, false
	for !l.closed && (len(l.values) == 0 || !late && l.busy >= lanesAtOnce && len(l.values) < someUnits) {
		if len(l.values) > 0 && !waits {
			waits = true
			time.AfterFunc(unitsWithin, func() {
				l.mu.Lock()
				defer l.mu.Unlock()
				late = true
				l.full.Broadcast()
			})
		}
		l.full.Wait()
	}
	out := l.cut(limit)
	if len(out) > 0 {
		l.busy++
	}
	return out
}

// back says that the lane has done what it took.
func (l *lanes) back() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy--
	l.full.Broadcast()
}
