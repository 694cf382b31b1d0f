package drivertest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/posthorn/posthorn/driver"
)

func nameTests(c driver.Capabilities) []subtest {
	tests := []subtest{
		{"keeps odd queue names apart, byte for byte", queuesApart},
		{"refuses bad queue names at Send", queuesRefusedAtSend},
		{"refuses bad queue names at Consume", queuesRefusedAtConsume},
		{"keeps odd ids and kinds, byte for byte", idsKept},
		{"refuses bad ids and kinds", idsRefused},
	}
	if c.UniqueIDs {
		tests = append(tests, subtest{"takes ids that differ in case for different ones", idsApart})
	}
	return tests
}

// goodQueues are names that a careless transport takes for one another, or for
// something of its own.
func goodQueues() []string {
	long := strings.Repeat("q", driver.MaxQueue)
	return []string{
		"abc", "ABC", "Abc", "abc.", "abc..", "a.bc", "a..bc", "abc-", "abc_", "abcd", "a", "a.", "0", "00", "0.0",
		"1e5", "null", "NULL", "select", "default", "drop-table", "a_c", long, long[1:],
	}
}

// badQueues are names to refuse, and the reason.
func badQueues() map[string]error {
	bad := map[string]error{strings.Repeat("q", driver.MaxQueue+1): driver.ErrTooLarge}
	for _, name := range []string{
		"", " ", "a b", "abc ", " abc", "a/b", "a:b", `a\b`, "-a", "_a", ".a", ".", "..", "ä", "a\x00", "a\n", "\xff",
		"a'", `a"`, "a`", "a%", "a*", "a>", "a;", "$a", "#a", "a,b", "\u202ea", "a@b",
	} {
		bad[name] = driver.ErrInvalid
	}
	return bad
}

func queuesApart(r *rig) {
	names := goodQueues()
	for i, name := range names {
		e := env(fmt.Sprint("in-", i))
		e.Queue = name
		r.send(e)
	}
	for i, name := range names {
		c := r.consume(name)
		d := r.one(c)
		if want := fmt.Sprint("in-", i); d.ID != want || d.Queue != name {
			r.Errorf("queue %q gave %s of queue %q, want %s", name, d.ID, d.Queue, want)
		}
		if i < 3 { // each takes a while
			r.nothing(c)
		}
	}
}

func queuesRefusedAtSend(r *rig) {
	for name, want := range badQueues() {
		e := env("bad")
		e.Queue = name
		if err := r.Transport.Send(r.soon(), e); !errors.Is(err, want) {
			r.Errorf("send to queue %q returned %v, want %v", name, err, want)
		}
	}
}

func queuesRefusedAtConsume(r *rig) {
	for name, want := range badQueues() {
		sub := driver.Subscription{Queues: []string{queue, name}, Lease: lasting}
		c, err := r.Transport.Consume(r.soon(), sub)
		if !errors.Is(err, want) {
			r.Errorf("consume queue %q returned %v, want %v", name, err, want)
		}
		if err == nil {
			r.closeConsumer(c)
		}
	}
}

func idsKept(r *rig) {
	sent := map[string]string{
		strings.Repeat("i", driver.MaxName): strings.Repeat("k", driver.MaxName),
		"0":                                 "0",
		"a@b+c=d#e:f/g":                     `App\Kind\Of.v2:x/y-z_1`,
		"null":                              "null",
		"dot.":                              "dot.",
		`back\slash`:                        `back\slash`,
	}
	for id, kind := range sent {
		e := env(id)
		e.Kind = kind
		r.send(e)
	}
	for _, d := range r.receive(r.consume(), len(sent)) {
		if kind, known := sent[d.ID]; !known || kind != d.Kind {
			r.Errorf("received id %q of kind %q, want kind %q", d.ID, d.Kind, kind)
		}
	}
}

func idsRefused(r *rig) {
	bad := map[string]error{strings.Repeat("n", driver.MaxName+1): driver.ErrTooLarge}
	for _, name := range []string{"", " ", "a b", "-a", "a\x00", "\xff", "ä", "a'", `a"`, "a\n", "a "} {
		bad[name] = driver.ErrInvalid
	}
	for name, want := range bad {
		e := env("good")
		e.Kind = name
		r.refuse(want, e)
		r.refuse(want, env(name))
	}
	r.nothing(r.consume())
}

func idsApart(r *rig) {
	r.send(env("abc"), env("ABC"), env("abc."))
	c := r.consume()
	ds := r.receive(c, 3)
	r.ack(c, ds[0], ds[1])
	r.refuse(driver.ErrDuplicate, env(ds[2].ID))
	r.send(env(ds[0].ID))
}
