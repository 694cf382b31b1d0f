package supervisor

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// watchEvery is how often memory is sampled, and guardian and orphans are looked
// after.
const watchEvery = time.Second

// attend lives until the context ends and all crews have ended after it, and
// tells our own parent how things stand.
func (s *Supervisor) attend(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ended := make(chan struct{})
	alive, stop := s.heartbeat()
	defer stop()
	for told := ctx.Done(); ; {
		select {
		case <-told:
			told = nil
			s.o.Notify("STOPPING=1")
			s.leave()
			wg.Go(func() { s.wg.Wait(); close(ended) })
		case <-ended:
			return
		case <-s.changed:
			s.announce()
		case <-alive:
			s.Status() // a supervisor that cannot tell it is not alive
			s.o.Notify("WATCHDOG=1")
		}
	}
}

// heartbeat ticks as often as our parent wants to hear of us.
func (s *Supervisor) heartbeat() (<-chan time.Time, func()) {
	if s.o.WatchdogEvery <= 0 {
		return nil, func() {}
	}
	t := time.NewTicker(s.o.WatchdogEvery)
	return t.C, t.Stop
}

// announce says READY=1 once every program has its minimum, and how many
// processes are ready.
func (s *Supervisor) announce() {
	ready, all, enough := 0, 0, true
	for _, c := range s.all() {
		n := 0
		for _, pl := range c.all() {
			if st := pl.view(); st.Phase == PhaseReady {
				n++
			}
			all++
		}
		ready, enough = ready+n, enough && n >= c.minimum()
	}
	status := fmt.Sprintf("STATUS=%d of %d processes ready", ready, all)
	if s.first(enough) {
		s.o.Notify("READY=1", status)
		return
	}
	s.o.Notify(status)
}

// first reports whether readiness has just been reached.
func (s *Supervisor) first(enough bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !enough || s.announced || s.stage != stageRunning {
		return false
	}
	s.announced = true
	return true
}

// reloading says that READY=1 will be said again.
func (s *Supervisor) reloading() {
	lines := []string{"RELOADING=1"}
	if now, ok := monotonic(); ok {
		lines = append(lines, fmt.Sprintf("MONOTONIC_USEC=%d", now))
	}
	s.o.Notify(lines...)
	s.announced = false
	poke(s.changed)
}

// watch samples the memory of all processes, looks after the guardian, and
// buries orphans that have become our children.
func (s *Supervisor) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	seen := map[corpse]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.sample(now)
			s.warden.check()
			if adopts() {
				seen = s.undertake(seen)
			}
		}
	}
}

// sample notes the memory of all processes.
func (s *Supervisor) sample(now time.Time) {
	for _, c := range s.all() {
		for _, pl := range c.all() {
			pl.sample(now)
		}
	}
}

// undertake buries the dead children that nobody else has buried since the last
// look: our own processes, and those of other parts of this program, are waited
// for by who started them.
func (s *Supervisor) undertake(seen map[corpse]bool) map[corpse]bool {
	now := map[corpse]bool{}
	for _, dead := range corpses() {
		switch {
		case s.isOurs(dead.pid) || s.warden.isOurs(dead.pid):
		case seen[dead]:
			bury(dead.pid)
		default:
			now[dead] = true
		}
	}
	return now
}

func (s *Supervisor) isOurs(pid int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ours[pid]
}
