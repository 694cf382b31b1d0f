package worker

import "time"

// Lanes run transactions side by side. Two begin with whatever there is: a message that comes alone
// is committed at once. While these are at work, others wait for some more effects, since a
// transaction costs as much for one as for some: if effects are so quick that this matters, and not
// for long, since how long those of the two take nobody knows.
const (
	lanesAtOnce = 2
	someUnits   = 16
	unitsWithin = 2 * time.Millisecond
	quickEffect = time.Millisecond
)

// A lanes holds the effects that wait for a transaction, and knows how many lanes are in one.
type lanes struct {
	mailbox[*parcel]
	busy int
	each time.Duration // that an effect of the last transaction took; 0: nothing is known
}

// next waits for effects, and returns at most limit of them, with which the lane is busy until it is
// back. It returns nothing once the mailbox is closed and empty.
func (l *lanes) next(limit int) []*parcel {
	l.mu.Lock()
	defer l.mu.Unlock()
	var late *bool // of the effects that wait now
	for !l.closed && (len(l.values) == 0 || l.gathers() && (late == nil || !*late)) {
		switch {
		case len(l.values) == 0:
			late = nil
		case late == nil:
			late = l.soon()
		}
		l.full.Wait()
	}
	out := l.cut(limit)
	if len(out) > 0 {
		l.busy++
	}
	return out
}

// gathers reports whether more effects are waited for.
func (l *lanes) gathers() bool {
	return l.busy >= lanesAtOnce && len(l.values) < someUnits && l.each > 0 && l.each < quickEffect
}

// soon becomes true when that has lasted long enough.
func (l *lanes) soon() *bool {
	late := new(bool)
	time.AfterFunc(unitsWithin, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		*late = true
		l.full.Broadcast()
	})
	return late
}

// back says that the lane has done what it took, n effects that ran for some time together.
func (l *lanes) back(n int, ran time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy--
	l.each = max(ran/time.Duration(n), 1)
	l.full.Broadcast()
}
