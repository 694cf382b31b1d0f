package drivertest

import (
	"fmt"

	"github.com/posthorn/posthorn/driver"
)

func crashTests() []subtest {
	return []subtest{
		{"keeps what was accepted when the process ends", crashKeeps},
		{"delivers what a dead process held, after its lease", crashRedelivers},
		{"keeps retries, releases and burials when the process ends", crashKeepsVerdicts},
		{"refuses the claim of another process", crashFences},
		{"passes messages between two open handles", crashShares},
	}
}

func crashKeeps(r *rig) {
	e := env("kept")
	e.Header = map[string]string{"a": "1"}
	r.send(e)
	r.close()
	d := r.reopen().wantsBack("kept")
	if string(d.Body) != string(e.Body) || d.Header["a"] != "1" || d.Deliveries != 1 || d.Crashes != 0 {
		r.Errorf("received %+v, want %+v for the first time", d, e)
	}
}

// wantsBack is wants with a consumer of its own.
func (r *rig) wantsBack(id string) driver.Delivery {
	r.Helper()
	return r.wants(r.consume(), id)
}

func crashRedelivers(r *rig) {
	r.claim(r.consumer(brief), env("held"))
	r.close()
	if d := r.reopen().wantsBack("held"); d.Deliveries != 2 || d.Crashes != 1 || d.Attempt != 0 {
		r.Errorf("deliveries %d, crashes %d, attempt %d; want 2, 1, 0", d.Deliveries, d.Crashes, d.Attempt)
	}
}

func crashKeepsVerdicts(r *rig) {
	c := r.consumer(lasting)
	r.send(envs("settled", 4)...)
	ds := r.receive(c, 4)
	r.settle(c,
		driver.Settlement{Delivery: ds[0], Verdict: driver.Ack},
		driver.Settlement{Delivery: ds[1], Verdict: driver.Retry},
		driver.Settlement{Delivery: ds[2], Verdict: driver.Release})
	if r.caps.Bury {
		r.settle(c, verdicts(driver.Bury, ds[3])...)
	}
	r.close()
	other := r.reopen()
	back := other.consume()
	for _, d := range other.receive(back, 2) {
		if want := map[string]int{ds[1].ID: 1, ds[2].ID: 0}; d.Attempt != want[d.ID] || d.Crashes != 0 {
			r.Errorf("%s has attempt %d, crashes %d", d.ID, d.Attempt, d.Crashes)
		}
	}
	other.nothing(back)
}

func crashFences(r *rig) {
	other := r.reopen()
	zombie, heir := r.consumeFor(brief), other.consume()
	old := r.claim(zombie, env("held"))
	d := other.wants(heir, "held")
	r.refused(zombie, old)
	other.ack(heir, d)
}

func crashShares(r *rig) {
	other := r.reopen()
	c := other.consume()
	got := other.whileWaiting(c, func() { r.send(env("shared")) })
	r.woken(got, "shared")
	for i := range 20 {
		id := fmt.Sprint("shared-", i)
		other.ack(c, r.wantsFrom(other, c, id))
	}
}

// wantsFrom sends by this handle and receives by the other.
func (r *rig) wantsFrom(other *rig, c driver.Consumer, id string) driver.Delivery {
	r.Helper()
	r.send(env(id))
	return other.wants(c, id)
}
