package supervisor

import "sync"

// A stand is what is to be known of a place when the next step of a program is
// planned.
type stand struct {
	current bool // its process is of the newest version, or the next will be
	ready   bool
	leaving bool
	ended   bool
}

// A demand is what a program is to come to.
type demand struct {
	want    int  // processes
	floor   int  // ready ones that a rolling restart leaves
	rolling bool // outdated processes are replaced little by little
	surge   bool // and only once their successors are ready
}

// A plan is the next step towards a demand; places are given by their index.
type plan struct {
	start int
	renew []int
	leave []int
}

// next plans the next step. It is asked again whenever a place has changed, so
// it takes only what can be done now.
func (d demand) next(places []stand) plan {
	var p plan
	var outdated []int
	staying, ready := 0, 0
	for i, s := range places {
		if s.leaving || s.ended {
			continue
		}
		staying++
		if s.ready {
			ready++
		}
		if !s.current {
			outdated = append(outdated, i)
		}
	}
	target, surging := d.want, d.rolling && d.surge && len(outdated) > 0
	if surging && d.want > 0 {
		target++
	}
	switch {
	case staying < target:
		p.start = target - staying
	case surging:
		p.leave = d.relieved(places, outdated, min(ready-d.floor, staying-d.want), staying-d.want)
	case staying > d.want:
		p.leave = dismissed(places, staying-d.want)
	}
	if !surging && len(p.leave) == 0 {
		p.renew = d.renewed(places, outdated, ready)
	}
	return p
}

// relieved chooses who leaves because its successor is there: the outdated that
// are not ready, and of the ready as many as can be spared.
func (d demand) relieved(places []stand, outdated []int, spare, surplus int) []int {
	var leave []int
	for _, ready := range []bool{false, true} {
		for _, i := range outdated {
			if places[i].ready != ready || len(leave) == surplus || ready && spare <= 0 {
				continue
			}
			if ready {
				spare--
			}
			leave = append(leave, i)
		}
	}
	return leave
}

// dismissed chooses who leaves because there are too many: the outdated before
// the current, those that are not ready before the ready, the later before the
// earlier.
func dismissed(places []stand, surplus int) []int {
	var leave []int
	for rank := range 4 {
		for i := len(places) - 1; i >= 0 && len(leave) < surplus; i-- {
			if s := places[i]; !s.leaving && !s.ended && s.rank() == rank {
				leave = append(leave, i)
			}
		}
	}
	return leave
}

// rank orders who leaves first.
func (s stand) rank() int {
	rank := 0
	if s.current {
		rank += 2
	}
	if s.ready {
		rank++
	}
	return rank
}

// renewed chooses who is replaced in its place: all at once, or those that are
// not ready, and of the ready as many as can be spared.
func (d demand) renewed(places []stand, outdated []int, ready int) []int {
	if !d.rolling {
		return outdated
	}
	var renew []int
	for _, i := range outdated {
		switch {
		case !places[i].ready:
			renew = append(renew, i)
		case ready > d.floor:
			ready--
			renew = append(renew, i)
		}
	}
	return renew
}

// A crew is the processes of one program. One goroutine runs it and settles
// what was demanded; others demand.
type crew struct {
	s     *Supervisor
	name  string
	poked chan struct{}
	wg    sync.WaitGroup // of the places

	mu      sync.Mutex
	program Program
	version int
	want    int
	rolling bool
	gone    bool // the program has been removed, or everything stops
	places  []*place
}

func newCrew(s *Supervisor, p Program) *crew {
	return &crew{s: s, name: p.Name, poked: make(chan struct{}, 1), program: p, want: p.Processes}
}

// run settles until the program is gone and its processes have ended. It
// reports so to over, which says whether that is the last word.
func (c *crew) run(over func() bool) {
	for {
		if c.settle() && over() {
			c.wg.Wait()
			return
		}
		<-c.poked
	}
}

// settle takes one step. It reports whether nothing is left of the program.
func (c *crew) settle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	var places []*place
	var stands []stand
	for _, pl := range c.places {
		if st := pl.stands(c.version); !st.ended {
			places, stands = append(places, pl), append(stands, st)
		}
	}
	c.places = places
	want := c.want
	if c.gone {
		want = 0
	}
	d := demand{want: want, floor: c.program.floor(want), rolling: c.rolling && !c.gone, surge: c.program.Surge}
	p := d.next(stands)
	for _, i := range p.leave {
		c.places[i].leave()
	}
	for _, i := range p.renew {
		program := c.program
		c.places[i].renew(&program, c.version)
	}
	for range p.start {
		c.start()
	}
	return c.gone && len(c.places) == 0
}

// start opens a place for one more process, with the lowest free number.
func (c *crew) start() {
	taken := map[int]bool{}
	for _, pl := range c.places {
		taken[pl.number] = true
	}
	number := 0
	for taken[number] {
		number++
	}
	program := c.program
	pl := &place{
		s: c.s, crew: c, number: number, orders: make(chan struct{}, 1), program: &program, version: c.version,
		state: State{Phase: PhaseIdle},
	}
	c.places = append(c.places, pl)
	c.wg.Go(pl.run)
}

// demand changes what the crew is to come to.
func (c *crew) demand(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	poke(c.poked)
}

// leave ends all processes.
func (c *crew) leave() { c.demand(func() { c.gone = true }) }

// renew replaces all processes.
func (c *crew) renew(rolling bool) {
	c.demand(func() { c.version, c.rolling = c.version+1, rolling })
}

// isGone reports whether the program is to go and no process is left.
func (c *crew) isGone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone && len(c.places) == 0
}

// all returns the places.
func (c *crew) all() []*place {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*place(nil), c.places...)
}

// minimum is how many processes must be ready for the supervisor to be ready.
func (c *crew) minimum() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.want == 0 || c.gone {
		return 0
	}
	return max(1, c.program.least(c.want))
}
