package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of a supervisor.
var (
	ErrUnknownProgram = errors.New("unknown program")
	ErrNotRunning     = errors.New("the supervisor does not run")
)

// stage is how far a supervisor has come.
type stage int

const (
	stageNew stage = iota
	stageRunning
	stageStopping
)

// A Supervisor keeps programs running. Its methods may be called from any
// goroutine.
type Supervisor struct {
	o       Options
	cradle  cradle
	warden  *warden
	scribe  *scribe
	teller  *teller
	dir     string       // of the sockets
	sockets atomic.Int64 // that there have been
	changed chan struct{}
	wg      sync.WaitGroup // of the crews

	mu        sync.Mutex
	stage     stage
	programs  []Program // before the start
	crews     map[string]*crew
	order     []string
	ours      map[int]bool // processes that are reaped by whom they belong to
	announced bool         // READY=1 has been said since the start or the last reload
}

// New checks the programs. Nothing is started before Run.
func New(programs []Program, o Options) (*Supervisor, error) {
	programs, err := checked(programs)
	if err != nil {
		return nil, err
	}
	o = o.filled()
	s := &Supervisor{
		o: o, cradle: newCradle(), scribe: newScribe(o), teller: newTeller(o), changed: make(chan struct{}, 1),
		programs: programs, crews: map[string]*crew{}, ours: map[int]bool{},
	}
	s.warden = newWarden(o, s.cradle)
	return s, nil
}

// Run runs the programs until the context ends, and then stops them: it returns
// when every process and everything else that it started has ended. It may be
// called once.
func (s *Supervisor) Run(ctx context.Context) error {
	dir, err := s.socketDir()
	if err != nil {
		return err
	}
	s.dir = dir
	defer func() { _ = os.RemoveAll(dir) }()
	var machinery sync.WaitGroup
	defer machinery.Wait()
	machinery.Go(s.cradle.run)
	defer close(s.cradle.births)
	if err := s.warden.open(dir); err != nil {
		return err
	}
	defer s.warden.close()
	defer s.scribe.close()
	lasting, end := context.WithCancel(context.WithoutCancel(ctx))
	var watching sync.WaitGroup
	defer watching.Wait() // it starts guardians, which must have an end
	defer end()
	watching.Go(func() { s.watch(lasting) })
	var telling sync.WaitGroup
	telling.Go(func() { s.teller.run(lasting) })
	s.begin()
	s.attend(ctx)
	close(s.teller.queue)
	late := time.AfterFunc(s.o.ObserveTimeout, end) // bounds the last events together
	telling.Wait()
	late.Stop()
	return nil
}

// socketsPrefix begins the name of the directory of the sockets.
const socketsPrefix = "posthorn-"

// socketDir makes a directory that only this user can enter. Sockets need short
// paths, see unix(7).
func (s *Supervisor) socketDir() (string, error) {
	const longest = 80
	parent := s.o.RunDir
	if len(parent) > longest {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, socketsPrefix)
	if err != nil {
		return "", fmt.Errorf("make directory for sockets: %w", err)
	}
	return dir, nil
}

// begin starts the crews.
func (s *Supervisor) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage = stageRunning
	for _, p := range s.programs {
		s.add(p)
	}
}

// add starts a crew.
func (s *Supervisor) add(p Program) {
	c := newCrew(s, p)
	s.crews[p.Name] = c
	s.order = append(s.order, p.Name)
	s.wg.Go(func() { c.run(func() bool { return s.remove(c) }) })
}

// remove takes a crew off the list, if its program has not come back.
func (s *Supervisor) remove(c *crew) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.isGone() {
		return false
	}
	delete(s.crews, c.name)
	s.order = slices.DeleteFunc(s.order, func(name string) bool { return name == c.name })
	poke(s.changed)
	return true
}

// leave stops all programs.
func (s *Supervisor) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage = stageStopping
	for _, c := range s.crews {
		c.leave()
	}
}

// Reload runs these programs from now on. A set with a fault is refused, and
// everything stays as it is. What is not in the set is stopped; what has changed
// is replaced by a rolling restart; what has not is left alone. It does not wait
// until that is done.
func (s *Supervisor) Reload(programs []Program) error {
	programs, err := checked(programs)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.stage {
	case stageNew:
		s.programs = programs
		return nil
	case stageStopping:
		return ErrNotRunning
	}
	s.reloading()
	kept := map[string]bool{}
	for _, p := range programs {
		kept[p.Name] = true
		if c := s.crews[p.Name]; c != nil {
			c.become(p)
		} else {
			s.add(p)
		}
	}
	for name, c := range s.crews {
		if !kept[name] {
			c.leave()
		}
	}
	return nil
}

// become changes a program.
func (c *crew) become(p Program) {
	c.demand(func() {
		old := c.program
		old.Processes, old.MinReady, old.Surge = p.Processes, p.MinReady, p.Surge // no process needs to know
		if !reflect.DeepEqual(old, p) {
			c.version, c.rolling = c.version+1, true
		}
		if c.gone || p.Processes != c.program.Processes { // else what Scale has said stands
			c.want = p.Processes
		}
		c.program, c.gone = p, false
	})
}

// Restart replaces the processes of a program: all at once, or, rolling, so that
// MinReady of them stay ready. It does not wait until that is done.
func (s *Supervisor) Restart(name string, rolling bool) error {
	c, err := s.crew(name)
	if err != nil {
		return err
	}
	c.renew(rolling)
	return nil
}

// Scale changes how many processes a program has.
func (s *Supervisor) Scale(name string, n int) error {
	if n < 0 || n > MaxProcesses {
		return fmt.Errorf("%w %q: %d processes; allowed are 0 to %d", ErrProgram, name, n, MaxProcesses)
	}
	c, err := s.crew(name)
	if err != nil {
		return err
	}
	c.demand(func() { c.want = n })
	return nil
}

func (s *Supervisor) crew(name string) (*crew, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stage != stageRunning {
		return nil, ErrNotRunning
	}
	if c := s.crews[name]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("%w %q", ErrUnknownProgram, name)
}

// Again sends the stop signal once more to every process: a process that is
// already stopping may take it as an order to hurry.
func (s *Supervisor) Again() {
	for _, c := range s.all() {
		for _, pl := range c.all() {
			pl.again()
		}
	}
}

// Status tells of every place, in the order of the programs.
func (s *Supervisor) Status() []ProcessStatus {
	var all []ProcessStatus
	for _, c := range s.all() {
		for _, pl := range c.all() {
			all = append(all, pl.view())
		}
	}
	return all
}

// all lists the crews in order.
func (s *Supervisor) all() []*crew {
	s.mu.Lock()
	defer s.mu.Unlock()
	crews := make([]*crew, 0, len(s.order))
	for _, name := range s.order {
		crews = append(crews, s.crews[name])
	}
	return crews
}

// known notes which processes are ours to reap.
func (s *Supervisor) known(pid int, lives bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if lives {
		s.ours[pid] = true
	} else {
		delete(s.ours, pid)
	}
}
