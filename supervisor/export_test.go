package supervisor

// A Stand is opened here for the property test of rolling restarts.
type Stand = stand

// A Demand is opened for it too.
type Demand = demand

// NewStand makes one.
func NewStand(current, ready bool) Stand { return stand{current: current, ready: ready} }

// NewDemand makes one.
func NewDemand(p Program, want int, rolling bool) Demand {
	return demand{want: want, floor: p.floor(want), rolling: rolling, surge: p.Surge}
}

// Next plans.
func (d Demand) Next(places []Stand) (start int, renew, leave []int) {
	p := d.next(places)
	return p.start, p.renew, p.leave
}

// Ready reports what a stand says.
func (s Stand) Ready() bool { return s.ready }

// Current reports what a stand says.
func (s Stand) Current() bool { return s.current }

// ReadLines is the reading of a process's output.
var ReadLines = readLines

// GuardianAfterClose opens a guardian, closes it, and looks after it once more, as a watch does
// that was under way. It reports whether another one was started.
func GuardianAfterClose(o Options) (started bool, err error) {
	c := newCradle()
	go c.run()
	defer close(c.births)
	w := newWarden(o.filled(), c)
	if err := w.open(""); err != nil {
		return false, err
	}
	w.close()
	w.check()
	defer w.close()
	return w.pipe != nil, nil
}
