package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/posthorn/posthorn/supervisor"
	"github.com/posthorn/posthorn/torture/oracle"
)

// The workers of the supervisor of a run, and how soon they must have ended when it is
// killed.
const (
	supervised   = 2
	orphanWithin = 5 * time.Second
)

// canSupervise says why a run has no supervisor of its own here; empty: it has. Only
// Linux ends the workers of a killed one without its guardian, see prctl(2).
func canSupervise() string {
	if runtime.GOOS != "linux" {
		return "only Linux ends a process with the one that started it"
	}
	return ""
}

// onlySupervised is possible where a run has a supervisor.
func onlySupervised(*place) string { return canSupervise() }

// ofChild is the job of one of the workers of a supervisor, which all have the same file.
func (j job) ofChild(pid int) job {
	j.Name = j.childName(pid)
	j.Flight += "." + strconv.Itoa(pid)
	j.Seed += uint64(pid)
	return j
}

// childName is the name of a worker of a supervisor.
func (j job) childName(pid int) string { return j.Name + "." + strconv.Itoa(pid) }

// supervise keeps workers running, as the command line's up does, and passes on what
// they say. Their job stands in a file, because it has the store's address.
func (p Process) supervise(ctx context.Context) (why string, err error) {
	j := p.job
	j.Role, j.Supervised = roleWorker, true
	text, err := json.Marshal(j)
	if err != nil {
		return "", err
	}
	file := j.Flight + ".job"
	if err := os.WriteFile(file, append(text, '\n'), 0o600); err != nil {
		return "", err
	}
	s, err := supervisor.New([]supervisor.Program{{
		Name: "workers", Processes: supervised, Env: p.Environ,
		Command: append([]string{"sh", "-c", `exec "$@" <"$0"`, file}, p.Command...),
		Backoff: supervisor.Backoff{Min: 100 * time.Millisecond, Max: 2 * time.Second, Healthy: 5 * time.Second},
	}}, supervisor.Options{Stdout: p.Out, Stderr: p.Log, Log: p.log, Observe: p.observe})
	if err != nil {
		return "", err
	}
	p.voice.say(event{Ready: j.Name})
	return "told to end", s.Run(ctx)
}

// observe tells of workers that have ended.
func (p Process) observe(_ context.Context, e supervisor.Event) {
	if e.Kind != supervisor.KindExited || e.PID == 0 {
		return
	}
	how := "exit status " + strconv.Itoa(e.Exit.Code)
	if e.Exit.Signal != 0 {
		how = "signal: " + e.Exit.Signal.String()
	}
	p.voice.say(event{Of: p.job.childName(e.PID), Gone: how})
}

// charge finds the supervised worker that an event is about; it is new when it speaks
// for the first time.
func (c *crew) charge(m *member, e event) *member {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.members {
		if o.under == m && o.name == e.Of {
			return o
		}
	}
	if e.Gone != "" { // it ended before it said anything
		return nil
	}
	o := &member{role: roleWorker, name: e.Of, under: m, done: make(chan struct{})}
	c.members = append(c.members, o)
	c.counts.Started++
	return o
}

// hear takes in what a supervisor says of one of its workers.
func (c *crew) hear(m *member, e event) {
	o := c.charge(m, e)
	if o == nil {
		return
	}
	c.mu.Lock()
	if e.PID != 0 {
		o.process, _ = os.FindProcess(e.PID) // it fails nowhere where a run has a supervisor
		o.notes = fmt.Sprintf("%s.%d", m.notes, e.PID)
	}
	c.mu.Unlock()
	if e.Gone == "" {
		c.heed(o, e)
		return
	}
	o.how = e.Gone
	c.bury(o)
	close(o.done)
}

// orphans waits for the workers of a supervisor that has ended. One that lives on
// breaks the promise that none does.
func (c *crew) orphans(m *member) {
	c.mu.Lock()
	var left []*member
	for _, o := range c.members {
		if o.under == m {
			left = append(left, o)
			o.killed = o.killed || m.killed
		}
	}
	c.mu.Unlock()
	deadline := time.Now().Add(orphanWithin)
	for _, o := range left {
		o.how = "killed with its supervisor"
		for o.process != nil && alive(o.process) {
			if wait(context.Background(), 20*time.Millisecond); time.Now().After(deadline) {
				c.find(oracle.NothingLeaks, "%s lives on %s after its supervisor", o.name, orphanWithin)
				_ = o.process.Kill()
				break
			}
		}
		c.bury(o)
		close(o.done)
	}
}
