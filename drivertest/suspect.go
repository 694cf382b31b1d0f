package drivertest

import (
	"errors"
	"time"

	"github.com/posthorn/posthorn/driver"
)

func suspectTests(c driver.Capabilities) []subtest {
	if !c.Suspects {
		return []subtest{{"refuses a consumer of suspects", suspectRefused}}
	}
	return []subtest{
		{"gives back what had not begun at no cost", suspectInnocents},
		{"charges all that a worker held where nobody knows what had begun", suspectUnknown},
		{"hands out suspects one at a time, and to nobody else", suspectApart},
		{"refuses the claims of the dead", suspectFences},
		{"wakes who waits for suspects", suspectWakes},
		{"takes a suspect for well when its handler has returned", suspectReturns},
		{"keeps a suspect that is given back unhandled", suspectUnhandled},
		{"keeps a suspect whose lease ran out", suspectSilent},
		{"buries what kills alone too often", suspectBuried},
		{"buries nothing that died in company", suspectCompany},
		{"touches nothing when a worker is released twice", suspectTwice},
		{"leaves other workers' messages alone", suspectOthers},
		{"gives back each message once when many die and are released twice", suspectStorm},
		{"lets those wait for whom there is a due time", suspectDelayed},
	}
}

func suspectRefused(r *rig) {
	sub := driver.Subscription{Queues: []string{queue}, Lease: lasting, Suspects: true}
	if c, err := r.Transport.Consume(r.soon(), sub); !errors.Is(err, driver.ErrUnsupported) {
		r.Errorf("consume returned %v, %v; want ErrUnsupported", c, err)
	}
	if r.roles.Reaper == nil {
		return
	}
	if _, err := r.roles.Reaper.ReleaseDead(r.soon(), driver.Death{Worker: "w"}); !errors.Is(err, driver.ErrUnsupported) {
		r.Errorf("release of a dead worker returned %v, want ErrUnsupported", err)
	}
}

// as is a consumer of a worker with this id.
func (r *rig) as(worker string, suspects bool) driver.Consumer {
	r.Helper()
	return r.asFor(worker, suspects, lasting)
}

func (r *rig) asFor(worker string, suspects bool, lease time.Duration, queues ...string) driver.Consumer {
	r.Helper()
	if len(queues) == 0 {
		queues = []string{queue}
	}
	c, err := r.Transport.Consume(r.soon(), driver.Subscription{
		Queues: queues, Lease: lease, Worker: worker, Suspects: suspects,
	})
	if err != nil {
		r.Fatalf("consume as %s: %v", worker, err)
	}
	r.Cleanup(func() { r.closeConsumer(c) })
	return c
}

// die releases what a worker held whose handlers of ds had begun.
func (r *rig) die(worker string, ds ...driver.Delivery) driver.Toll {
	r.Helper()
	begun := []driver.Token{}
	for _, d := range ds {
		begun = append(begun, d.Token)
	}
	return r.release(driver.Death{Worker: worker, Begun: begun, Cause: "killed", Evidence: "last words"})
}

func (r *rig) release(d driver.Death) driver.Toll {
	r.Helper()
	toll, err := r.roles.Reaper.ReleaseDead(r.soon(), d)
	if err != nil {
		r.Fatalf("release %s: %v", d.Worker, err)
	}
	return toll
}

// took checks what became of a dead worker's messages.
func (r *rig) took(got, want driver.Toll) {
	r.Helper()
	if got != want {
		r.Errorf("toll is %+v, want %+v", got, want)
	}
}

// charged checks the counts of a delivery.
func (r *rig) charged(d driver.Delivery, attempt, crashes int) {
	r.Helper()
	if d.Attempt != attempt || d.Crashes != crashes {
		r.Errorf("%s has attempt %d, crashes %d; want %d, %d", d.ID, d.Attempt, d.Crashes, attempt, crashes)
	}
}

// accused makes suspects of some messages.
func (r *rig) accused(es ...driver.Envelope) {
	r.Helper()
	c := r.as("accused", false)
	r.send(es...)
	ds := r.receive(c, len(es))
	r.took(r.die("accused", ds...), driver.Toll{Suspected: len(es)})
}

func suspectInnocents(r *rig) {
	r.send(envs("m", 5)...)
	ds := r.receive(r.as("dead", false), 5)
	r.took(r.die("dead", ds[1], ds[3]), driver.Toll{Released: 3, Suspected: 2})
	heir := r.as("heir", false)
	for _, d := range r.receive(heir, 3) {
		if d.ID == ds[1].ID || d.ID == ds[3].ID {
			r.Errorf("%s is a suspect, and was received", d.ID)
		}
		r.charged(d, 0, 0)
		r.ack(heir, d)
	}
	r.nothing(heir)
}

func suspectUnknown(r *rig) {
	r.send(envs("m", 3)...)
	r.receive(r.as("dead", false), 3)
	r.took(r.release(driver.Death{Worker: "dead"}), driver.Toll{Released: 3})
	for _, d := range r.receive(r.as("heir", false), 3) {
		r.charged(d, 0, 1)
	}
}

func suspectApart(r *rig) {
	r.accused(envs("m", 2)...)
	r.nothing(r.as("others", false))
	c := r.as("alone", true)
	r.send(env("well"))
	seen := map[string]bool{}
	for range 2 {
		ds, err := c.Receive(r.soon(), 10)
		if err != nil || len(ds) != 1 {
			r.Fatalf("received %q, %v; want one suspect", ids(ds), err)
		}
		r.charged(ds[0], 0, 1)
		seen[ds[0].ID] = true
	}
	if !seen["m-0"] || !seen["m-1"] {
		r.Errorf("received %v, want both suspects", seen)
	}
	r.nothing(c)
}

func suspectFences(r *rig) {
	r.send(envs("m", 2)...)
	c := r.as("dead", false)
	ds := r.receive(c, 2)
	r.die("dead", ds[0])
	r.lost(c.Extend(r.soon(), ds...), ds...)
	r.lost(c.Settle(r.soon(), verdicts(driver.Ack, ds...)...), ds...)
	r.wants(r.as("heir", false), ds[1].ID)
	r.wants(r.as("alone", true), ds[0].ID)
}

func suspectWakes(r *rig) {
	c := r.as("alone", true)
	got := r.whileWaiting(c, func() { r.accused(env("m")) })
	r.woken(got, "m")
}

func suspectReturns(r *rig) {
	r.accused(envs("m", 3)...)
	c, others := r.as("alone", true), r.as("others", false)
	word := &driver.Attempt{Number: 1, Worker: "alone", Started: time.Now(), Class: driver.ClassFailure, Error: "no"}
	r.settle(c, driver.Settlement{Delivery: r.one(c), Verdict: driver.Ack})
	r.settle(c, driver.Settlement{Delivery: r.one(c), Verdict: driver.Retry, Attempt: word})
	r.charged(r.one(others), 1, 0)
	r.settle(c, driver.Settlement{Delivery: r.one(c), Verdict: driver.Release, Attempt: word})
	r.charged(r.one(others), 0, 0)
	r.nothing(c)
}

func suspectUnhandled(r *rig) {
	r.accused(env("m"))
	c := r.as("alone", true)
	r.settle(c, verdicts(driver.Release, r.one(c))...)
	r.nothing(r.as("others", false))
	r.charged(r.wants(c, "m"), 0, 1)
	r.took(r.die("alone"), driver.Toll{Suspected: 1}) // its handler was not entered
	r.charged(r.wants(r.as("next", true), "m"), 0, 1)
}

func suspectSilent(r *rig) {
	r.accused(env("m"))
	r.wants(r.asFor("silent", true, brief), "m")
	r.expire(brief)
	r.nothing(r.as("others", false))
	r.charged(r.wants(r.as("alone", true), "m"), 0, 2)
}

func suspectBuried(r *rig) {
	r.accused(env("killer"))
	for death := 2; death <= driver.SuspectDeaths; death++ {
		d := r.wants(r.as("alone", true), "killer")
		r.charged(d, 0, death-1)
		want := driver.Toll{Suspected: 1}
		if death == driver.SuspectDeaths {
			want = driver.Toll{Buried: 1}
		}
		r.took(r.die("alone", d), want)
	}
	r.nothing(r.as("alone", true))
	r.nothing(r.as("others", false))
	r.send(env("killer")) // a dead letter's id is free
}

func suspectCompany(r *rig) {
	r.accused(envs("m", 2)...)
	for death := 2; death <= driver.SuspectDeaths+1; death++ {
		one, two := r.as("both", true), r.as("both", true)
		ds := []driver.Delivery{r.one(one), r.one(two)}
		r.charged(ds[0], 0, death-1)
		r.took(r.die("both", ds...), driver.Toll{Suspected: 2})
	}
	d := r.one(r.as("alone", true))
	r.took(r.die("alone", d), driver.Toll{Buried: 1})
}

func suspectTwice(r *rig) {
	r.send(envs("m", 4)...)
	ds := r.receive(r.as("dead", false), 4)
	r.die("dead", ds[0], ds[1])
	heir, alone := r.as("heir", false), r.as("alone", true)
	held := r.receive(heir, 2)
	suspect := r.one(alone)
	r.took(r.die("dead", ds...), driver.Toll{})
	r.took(r.release(driver.Death{Worker: "dead"}), driver.Toll{})
	r.took(r.die("dead", held...), driver.Toll{}) // the tokens of others
	if err := heir.Extend(r.soon(), held...); err != nil {
		r.Errorf("the claims of another worker: %v", err)
	}
	r.ack(heir, held...)
	r.ack(alone, suspect)
	r.charged(r.one(alone), 0, 1)
	r.nothing(heir)
}

func suspectOthers(r *rig) {
	r.send(envs("m", 2)...)
	mine, other := r.as("dead", false), r.as("lives", false)
	d, kept := r.one(mine), r.one(other)
	r.took(r.die("dead", d, kept), driver.Toll{Suspected: 1})
	r.ack(other, kept)
	if _, err := r.roles.Reaper.ReleaseDead(r.soon(), driver.Death{}); !errors.Is(err, driver.ErrInvalid) {
		r.Errorf("release of nobody: %v, want ErrInvalid", err)
	}
}

func suspectDelayed(r *rig) {
	r.accused(env("m"))
	c := r.as("alone", true)
	s := verdicts(driver.Release, r.one(c))[0]
	s.Delay = glance / 2
	r.settle(c, s)
	r.charged(r.wants(r.as("others", false), "m"), 0, 0)
}
