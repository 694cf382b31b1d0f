package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// drainWithin bounds the wait for the output of a process that has ended:
// somebody who left its group may still hold the pipe.
const drainWithin = 500 * time.Millisecond

// keptSamples is the length of a memory curve, at one sample a second.
const keptSamples = 60

// A process is one living process, until it has ended and is reaped.
type process struct {
	s       *Supervisor
	program *Program
	os      *os.Process
	group   int // also its own id
	box     *mailbox
	started time.Time
	tail    tail
	ended   chan struct{} // closed once exit is set
	exit    Exit
	wg      sync.WaitGroup

	told   atomic.Bool // it was told to end
	killed atomic.Bool // by us
	oom    string      // the file that counts, or ""
	kills  int64       // what it counted at the start

	life   sync.Mutex
	reaped bool // its id may be another's now

	mu    sync.Mutex
	curve []Sample
}

// spawn starts a process of a program.
func (s *Supervisor) spawn(p *Program, place int) (*process, error) {
	box, err := openMailbox(filepath.Join(s.dir, strconv.FormatInt(s.sockets.Add(1), 36)))
	if err != nil {
		return nil, err
	}
	proc := &process{s: s, program: p, box: box, started: time.Now(), ended: make(chan struct{})}
	if err := proc.begin(place); err != nil {
		box.close()
		return nil, err
	}
	s.known(proc.group, true)
	s.warden.know(proc.group)
	if proc.oom = oomFile(proc.group); proc.oom != "" {
		proc.kills = oomKills(proc.oom)
	}
	return proc, nil
}

// begin starts the process with the pipes for its lines, and who reads them.
func (p *process) begin(place int) error {
	pipes, err := openPipes()
	if err != nil {
		return err
	}
	defer pipes.closeTheirs()
	p.os, err = p.s.cradle.start(p.program.Command, &os.ProcAttr{
		Dir: p.program.Dir, Env: p.environ(), Sys: ownGroup(), Files: []*os.File{pipes.null, pipes.toOut, pipes.toErr},
	})
	if err != nil {
		pipes.closeOurs()
		return err
	}
	p.group = p.os.Pid
	prefix := ""
	if p.program.Prefix && p.s.o.Logs.Dir == "" {
		prefix = fmt.Sprintf("%s/%d[%d] ", p.program.Name, place, p.group)
	}
	var readers sync.WaitGroup
	copyTo := func(r *os.File, to stream, last *tail) {
		readers.Go(func() { p.s.scribe.copyStream(r, prefix, p.s.scribe.outlet(p.program, to), last) })
	}
	copyTo(pipes.out, streamOut, nil)
	copyTo(pipes.err, streamErr, &p.tail)
	p.wg.Go(func() { p.await(pipes, &readers) })
	return nil
}

func (p *process) environ() []string {
	env := make([]string, 0, len(p.program.Env)+2)
	for _, pair := range p.program.Env {
		if !strings.HasPrefix(pair, "NOTIFY_SOCKET=") && !strings.HasPrefix(pair, "WATCHDOG_") {
			env = append(env, pair)
		}
	}
	env = append(env, "NOTIFY_SOCKET="+p.box.path)
	if p.program.Watchdog > 0 {
		env = append(env, "WATCHDOG_USEC="+strconv.FormatInt(p.program.Watchdog.Microseconds(), 10))
	}
	return env
}

// await reaps the process once it has ended, and collects what is left of it.
func (p *process) await(pipes *pipes, readers *sync.WaitGroup) {
	state, err := p.reap()
	at := time.Now()
	p.s.known(p.group, false)
	pipes.drain(at.Add(drainWithin), readers)
	p.box.close()
	exit := Exit{Code: -1, Err: err}
	if err == nil {
		exit = ending(state)
	}
	exit.Started, exit.Ended, exit.Planned = p.started, at, p.told.Load()
	exit.Stderr, exit.Curve = p.tail.all(p.s.o.Escape), p.memory()
	exit.OOM = p.starved(exit)
	p.exit = exit
	close(p.ended)
}

// reap waits for the end. The rest of the group is killed before its leader is
// buried where the system can tell of an end without that: until then the
// group's id belongs to nobody else.
func (p *process) reap() (*os.ProcessState, error) {
	if !awaitEnd(p.group) {
		state, err := p.os.Wait()
		p.life.Lock()
		defer p.life.Unlock()
		p.clear()
		return state, err
	}
	p.life.Lock()
	defer p.life.Unlock()
	p.clear()
	return p.os.Wait()
}

// clear kills what is left of the group. No signal is sent to it afterwards.
func (p *process) clear() {
	_ = signalGroup(p.group, syscall.SIGKILL)
	p.s.warden.forget(p.group)
	p.reaped = true
}

// starved reports whether the process died for want of memory.
func (p *process) starved(e Exit) bool {
	if e.Clean() {
		return false
	}
	if e.Signal == syscall.SIGKILL && !p.killed.Load() && p.oom != "" && oomKills(p.oom) > p.kills {
		return true
	}
	return p.tail.starving()
}

// signal tells the process to end, or its whole group.
func (p *process) signal(act Act) error {
	p.life.Lock()
	defer p.life.Unlock()
	if p.reaped {
		return nil
	}
	p.told.Store(true)
	switch {
	case act == ActKill:
		p.killed.Store(true)
		return signalGroup(p.group, syscall.SIGKILL)
	case act == ActAbort:
		return signalOne(p.group, syscall.SIGABRT)
	case p.program.StopGroup:
		return signalGroup(p.group, p.program.StopSignal)
	}
	return signalOne(p.group, p.program.StopSignal)
}

// sample notes the resident memory.
func (p *process) sample(now time.Time) {
	rss := residentOf(p.group)
	if rss == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.curve) == keptSamples {
		p.curve = append(p.curve[:0], p.curve[1:]...)
	}
	p.curve = append(p.curve, Sample{At: now, RSS: rss})
}

func (p *process) memory() []Sample {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Sample(nil), p.curve...)
}

// pipes carry the output of one process.
type pipes struct{ null, out, err, toOut, toErr *os.File }

func openPipes() (*pipes, error) {
	var p pipes
	var err error
	if p.null, err = os.Open(os.DevNull); err != nil {
		return nil, fmt.Errorf("open pipes: %w", err)
	}
	if p.out, p.toOut, err = os.Pipe(); err == nil {
		p.err, p.toErr, err = os.Pipe()
	}
	if err != nil {
		p.closeTheirs()
		p.closeOurs()
		return nil, fmt.Errorf("open pipes: %w", err)
	}
	return &p, nil
}

// closeTheirs closes what only the process is to have.
func (p *pipes) closeTheirs() { closeAll(p.null, p.toOut, p.toErr) }

func (p *pipes) closeOurs() { closeAll(p.out, p.err) }

// drain waits for the readers, until a deadline.
func (p *pipes) drain(until time.Time, readers *sync.WaitGroup) {
	_ = p.out.SetReadDeadline(until)
	_ = p.err.SetReadDeadline(until)
	readers.Wait()
	p.closeOurs()
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}
