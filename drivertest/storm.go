package drivertest

import (
	"context"
	"fmt"
	"sync"

	"github.com/posthorn/posthorn/driver"
)

// suspectStorm lets many workers claim and die at once, each released by two who
// do not know of each other: each message comes back once, and nobody pays.
func suspectStorm(r *rig) {
	const sent, mourners = 60, 6
	r.send(envs("m", sent)...)
	var all sync.WaitGroup
	for n := range mourners {
		all.Go(func() {
			for i := range 4 {
				r.claimAndDie(fmt.Sprintf("w-%d-%d", n, i))
			}
		})
	}
	all.Wait()
	heir := r.as("heir", false)
	for _, d := range r.receive(heir, sent) {
		r.charged(d, 0, 0)
		r.ack(heir, d)
	}
	r.nothing(heir)
}

// claimAndDie claims as a new worker, and is released twice at the same time.
func (r *rig) claimAndDie(worker string) {
	sub := driver.Subscription{Queues: []string{queue}, Lease: lasting, Worker: worker}
	c, err := r.Transport.Consume(context.Background(), sub)
	if err != nil {
		r.Error(err)
		return
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), glance)
	defer cancel()
	ds, err := c.Receive(ctx, 15)
	if err != nil { // others have it all
		return
	}
	var both sync.WaitGroup
	var tolls [2]driver.Toll
	for i := range tolls {
		both.Go(func() {
			toll, err := r.roles.Reaper.ReleaseDead(context.Background(), driver.Death{Worker: worker, Begun: []driver.Token{}})
			if err != nil {
				r.Errorf("release %s: %v", worker, err)
			}
			tolls[i] = toll
		})
	}
	both.Wait()
	if got := tolls[0].Released + tolls[1].Released; got != len(ds) {
		r.Errorf("%d of the %d messages of %s came back", got, len(ds), worker)
	}
}
