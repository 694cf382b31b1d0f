package drivertest

import (
	"time"

	"github.com/posthorn/posthorn/driver"
)

func delayTests(c driver.Capabilities) []subtest {
	if !c.Delay {
		return []subtest{{"refuses a delay that it has not declared", delayUndeclared}}
	}
	tests := []subtest{
		{"keeps a message back for its delay", delayRelative},
		{"keeps a message back until its due time", delayAbsolute},
		{"delivers at once what was due in the past", delayPast},
		{"lets a delay win over a due time", delayWins},
		{"keeps a message back for years", delayFar},
		{"keeps a delayed message from holding up the others", delayNeighbours},
	}
	if c.UniqueIDs {
		tests = append(tests, subtest{"counts the id of a delayed message as live", delayLive})
	}
	return tests
}

func delayUndeclared(r *rig) {
	relative, absolute := env("relative"), env("absolute")
	relative.Delay, absolute.NotBefore = time.Second, time.Now().Add(time.Second)
	r.refuse(driver.ErrUnsupported, relative)
	r.refuse(driver.ErrUnsupported, absolute)
	r.refuse(driver.ErrUnsupported, env("plain"), relative)
	r.nothing(r.consume())
}

// notEarly receives the message and makes sure that its time has come.
func (r *rig) notEarly(id string, due time.Time) {
	r.Helper()
	r.wants(r.consume(), id)
	if early := time.Until(due); early > grain {
		r.Errorf("%s was delivered %s before it was due", id, early)
	}
}

func delayRelative(r *rig) {
	e := env("relative")
	e.Delay = brief
	due := time.Now().Add(brief)
	r.send(e)
	r.notEarly("relative", due)
}

func delayAbsolute(r *rig) {
	e := env("absolute")
	e.NotBefore = time.Now().Add(brief)
	r.send(e)
	r.notEarly("absolute", e.NotBefore)
}

func delayPast(r *rig) {
	past, negative := env("past"), env("negative")
	past.NotBefore, negative.Delay = time.Now().Add(-24*time.Hour), -time.Hour
	r.send(past, negative)
	r.receive(r.consume(), 2)
}

func delayWins(r *rig) {
	e := env("both")
	e.NotBefore, e.Delay = time.Now().Add(24*time.Hour), brief
	due := time.Now().Add(brief)
	r.send(e)
	r.notEarly("both", due)
}

func delayFar(r *rig) {
	far, further := env("far"), env("further")
	far.Delay, further.NotBefore = 50*365*24*time.Hour, time.Now().AddDate(200, 0, 0)
	r.send(far, further)
	r.nothing(r.consume())
}

func delayNeighbours(r *rig) {
	e := env("later")
	e.Delay = lasting
	if r.caps.Priority {
		e.Priority = driver.MaxPriority
	}
	r.send(e, env("now"))
	c := r.consume()
	r.wants(c, "now")
	r.nothing(c)
}

func delayLive(r *rig) {
	e := env("later")
	e.Delay = lasting
	r.send(e)
	r.refuse(driver.ErrDuplicate, env("later"))
}
