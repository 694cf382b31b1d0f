package drivertest

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/posthorn/posthorn/driver"
)

func sendTests(c driver.Capabilities) []subtest {
	tests := []subtest{
		{"delivers an envelope as it was sent", sendKeepsFields},
		{"accepts many envelopes at once", sendMany},
		{"accepts no envelopes", sendNone},
		{"stores nothing of a batch with an invalid envelope", sendInvalidBatch},
		{"keeps its own copy of what was sent", sendCopies},
		{"stores nothing when its context has ended", sendCancelled},
		{"sees a message that another goroutine has sent", sendElsewhere},
	}
	if c.UniqueIDs {
		return append(tests,
			subtest{"refuses an id that waits", sendDuplicateWaiting},
			subtest{"refuses an id that is claimed", sendDuplicateClaimed},
			subtest{"stores nothing of a batch with a live id", sendDuplicateBatch},
			subtest{"stores nothing of a batch with an id twice", sendTwiceInBatch},
			subtest{"accepts an id again after its acknowledgement", sendAfterAck},
		)
	}
	return append(tests, subtest{"delivers an id as often as it was sent", sendSameID})
}

func sendKeepsFields(r *rig) {
	e := env("field-1")
	e.Kind = `App\Message:Sub/Unsubscribe.v2`
	e.Header = map[string]string{"trace-id": "abc=1", "Subject": "Grüße, 世界\r\n\t", "empty": ""}
	e.Attempt = 2
	before := time.Now().Add(-time.Hour)
	r.send(e)
	d := r.one(r.consume())
	if d.ID != e.ID || d.Kind != e.Kind || d.Queue != e.Queue || string(d.Body) != string(e.Body) {
		r.Errorf("received %+v, want %+v", d.Envelope, e)
	}
	if !maps.Equal(d.Header, e.Header) {
		r.Errorf("header is %q, want %q", d.Header, e.Header)
	}
	if d.Priority != 0 || d.Attempt != 2 || d.Delay != 0 || d.Deliveries != 1 || d.Crashes != 0 || d.Token == "" {
		r.Errorf("received %+v", d)
	}
	if d.SentAt.Before(before) {
		r.Errorf("sent at %s, want about now", d.SentAt)
	}
}

func sendMany(r *rig) {
	r.send(envs("many", 300)...)
	got := map[string]bool{}
	for _, d := range r.receive(r.consume(), 300) {
		got[d.ID] = true
	}
	if len(got) != 300 {
		r.Errorf("received %d different messages, want 300", len(got))
	}
}

func sendNone(r *rig) {
	r.send()
	r.nothing(r.consume())
}

func sendInvalidBatch(r *rig) {
	bad := env("bad")
	bad.Kind = ""
	batch := append(envs("batch", 3), bad)
	r.refuse(driver.ErrInvalid, append(batch, env("last"))...)
	r.nothing(r.consume())
}

func sendCopies(r *rig) {
	e := env("copy")
	e.Header = map[string]string{"a": "1"}
	want := string(e.Body)
	r.send(e)
	e.Body[0], e.Header["a"] = 'X', "2"
	c := r.consume()
	d := r.one(c)
	if string(d.Body) != want || d.Header["a"] != "1" {
		r.Errorf("received %q %q: the sender changed it after Send", d.Body, d.Header)
	}
	d.Body[0], d.Header["a"] = 'X', "2"
	r.settle(c, verdicts(driver.Release, d)...)
	if d := r.one(c); string(d.Body) != want || d.Header["a"] != "1" {
		r.Errorf("received %q %q: an earlier receiver changed it", d.Body, d.Header)
	}
}

func sendCancelled(r *rig) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.Transport.Send(ctx, env("late")); !errors.Is(err, context.Canceled) {
		r.Errorf("send returned %v, want the context's error", err)
	}
	r.nothing(r.consume())
}

func sendElsewhere(r *rig) {
	done := make(chan error, 1)
	ctx := r.soon()
	wait := start(func() { done <- r.Transport.Send(ctx, env("elsewhere")) })
	defer wait()
	r.wants(r.consume(), "elsewhere")
	if err := <-done; err != nil {
		r.Errorf("send: %v", err)
	}
}

func sendDuplicateWaiting(r *rig) {
	r.send(env("same"))
	r.refuse(driver.ErrDuplicate, env("same"))
	other := env("same")
	other.Queue = "elsewhere"
	r.refuse(driver.ErrDuplicate, other)
	c := r.consume(queue, "elsewhere")
	r.wants(c, "same")
	r.nothing(c)
}

func sendDuplicateClaimed(r *rig) {
	c := r.consume()
	r.claim(c, env("same"))
	r.refuse(driver.ErrDuplicate, env("same"))
	r.nothing(c)
}

func sendDuplicateBatch(r *rig) {
	r.send(env("same"))
	r.refuse(driver.ErrDuplicate, env("new-1"), env("same"), env("new-2"))
	c := r.consume()
	r.wants(c, "same")
	r.nothing(c)
}

func sendTwiceInBatch(r *rig) {
	r.refuse(driver.ErrDuplicate, env("new-1"), env("twice"), env("twice"))
	r.nothing(r.consume())
}

func sendAfterAck(r *rig) {
	c := r.consume()
	for range 3 {
		d := r.claim(c, env("again"))
		if d.Deliveries != 1 || d.Attempt != 0 {
			r.Errorf("deliveries %d, attempt %d: the count of an earlier message", d.Deliveries, d.Attempt)
		}
		r.ack(c, d)
	}
	r.nothing(c)
}

func sendSameID(r *rig) {
	r.send(env("same"), env("same"))
	c := r.consume()
	ds := r.receive(c, 2)
	r.ack(c, ds[0])
	if err := c.Extend(r.soon(), ds[1]); err != nil {
		r.Errorf("extend the other one: %v", err)
	}
	r.ack(c, ds[1])
	r.nothing(c)
}
