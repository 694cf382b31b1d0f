package alert_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/alert"
	"github.com/posthorn/posthorn/monitor"
)

// paper is a Memory of a test.
type paper struct {
	mu      sync.Mutex
	body    []byte
	version int64
	lost    error // while it is away
	busy    int   // so often somebody else is faster
}

// Load returns what was saved.
func (p *paper) Load(context.Context) ([]byte, int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.body), p.version, p.lost
}

// Save compares and swaps.
func (p *paper) Save(_ context.Context, body []byte, version int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost != nil {
		return p.lost
	}
	if p.busy--; version != p.version || p.busy >= 0 {
		return monitor.ErrConflict
	}
	p.body, p.version = body, version+1
	return nil
}

func (p *paper) away(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = err
}

// A desk is a Sender that notes what it gets.
type desk struct {
	mu   sync.Mutex
	got  []string
	fail error
	hang bool
}

// Send takes notices, or fails, or hangs until it is cut off.
func (d *desk) Send(ctx context.Context, notices []alert.Notice) error {
	d.mu.Lock()
	hang, fail := d.hang, d.fail
	d.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	if fail != nil {
		return fail
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range notices {
		d.got = append(d.got, fmt.Sprintf("%s %s", n.Event, n.Condition.Name))
	}
	return nil
}

func (d *desk) set(fail error, hang bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail, d.hang = fail, hang
}

// story is what it has got.
func (d *desk) story() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.got, ", ")
}

// courier makes a courier of channels named as in the map.
func courier(p *paper, host string, desks map[string]*desk) *alert.Courier {
	o := alert.Options{Memory: p, Who: host, Host: host, Log: slog.New(slog.DiscardHandler)}
	for name, d := range desks {
		o.Channels = append(o.Channels, alert.Channel{Settings: alert.Settings{Name: name}, Sender: d})
	}
	return alert.NewCourier(o)
}

// verdict is a round by the clock of the bubble.
func verdict(revision int64, cs ...monitor.Condition) monitor.Round {
	return *round(time.Now(), revision, cs...)
}

// during runs couriers for the time of a function.
func during(t *testing.T, f func(), couriers ...*alert.Courier) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, c := range couriers {
		wg.Go(func() { c.Run(ctx) })
	}
	f()
	stop()
	wg.Wait()
}

// rest lets a while pass, and all come to rest.
func rest(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestAReceiverThatHangsHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, bad := &desk{}, &desk{hang: true}
		c := courier(&paper{}, "a", map[string]*desk{"good": good, "bad": bad})
		during(t, func() {
			began := time.Now()
			for i := range int64(20) { // a monitor goes on, and never waits
				c.Observe(verdict(i+1, condition("failed", "", monitor.Critical)))
				rest(time.Second)
			}
			if took := time.Since(began); took != 20*time.Second {
				t.Errorf("20 rounds took %s", took)
			}
			if good.story() != "firing failed" {
				t.Errorf("the other channel was told %q", good.story())
			}
			bad.set(nil, false)
			rest(time.Minute)
			if bad.story() != "firing failed" {
				t.Errorf("when it does not hang any more, it is told %q", bad.story())
			}
			bad.set(nil, true)
			c.Observe(verdict(30))
			rest(time.Second)
		}, c)
	})
}

func TestOfManyHostsOneTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, d := &paper{}, &desk{}
		var hosts []*alert.Courier
		for i := range 5 {
			hosts = append(hosts, courier(p, fmt.Sprint("h", i), map[string]*desk{"ops": d}))
		}
		during(t, func() {
			cs := []monitor.Condition{condition("failed", "", monitor.Critical)}
			for i := range int64(50) {
				hosts[i%5].Observe(verdict(i+1, cs[:(74-i)/50]...)) // it ends in the middle
				rest(time.Duration(i%5/4) * 30 * time.Second)       // after all of them
			}
		}, hosts...)
		if d.story() != "firing failed, resolved failed" {
			t.Errorf("it was told %q", d.story())
		}
	})
}

func TestWhoeverCannotRememberSendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, d := &paper{busy: 12}, &desk{}
		c := courier(p, "a", map[string]*desk{"ops": d})
		during(t, func() {
			c.Observe(verdict(1, condition("failed", "", monitor.Critical)))
			rest(30 * time.Second)
			if d.story() != "firing failed" {
				t.Errorf("after some conflicts it was told %q", d.story())
			}
			p.mu.Lock()
			p.busy = 1 << 30
			p.mu.Unlock()
			c.Observe(verdict(2, condition("failed", "", monitor.Critical), condition("disk", "", monitor.Critical)))
			rest(30 * time.Second)
		}, c)
		if d.story() != "firing failed" {
			t.Errorf("it was told %q", d.story())
		}
	})
}

func TestWhatWasNotDeliveredIsTriedByTheNextProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, d := &paper{}, &desk{fail: errors.New("refused")}
		first := courier(p, "a", map[string]*desk{"ops": d})
		during(t, func() {
			first.Observe(verdict(1, condition("failed", "", monitor.Critical)))
			rest(7 * time.Second)
			d.set(nil, true) // and it dies while a delivery is under way
			rest(10 * time.Second)
		}, first)
		d.set(nil, false)
		second := courier(p, "a", map[string]*desk{"ops": d})
		during(t, func() {
			second.Observe(verdict(2, condition("failed", "", monitor.Critical)))
			rest(2 * time.Minute)
		}, second)
		if d.story() != "firing failed" {
			t.Errorf("it was told %q", d.story())
		}
	})
}

func TestThatTheStoreIsAwayIsToldFromLocalMemoryAndReconciled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, d := &paper{}, &desk{}
		a, b := courier(p, "a", map[string]*desk{"ops": d}), courier(p, "b", map[string]*desk{"ops": d})
		failed, store := condition("failed", "", monitor.Critical), condition("store", "", monitor.Critical)
		store.Host = "a"
		during(t, func() {
			a.Observe(verdict(1, failed))
			rest(30 * time.Second)
			p.away(errors.New("connection refused"))
			for range 20 { // longer than a repeat would take, for what others may tell
				r := verdict(0, failed, store)
				r.Away = true
				r.Host = "a"
				a.Observe(r)
				rest(15 * time.Minute)
			}
			p.away(nil)
			a.Observe(verdict(2, failed, store))
			rest(30 * time.Second)
			b.Observe(verdict(3, failed, store))
			rest(30 * time.Second)
			a.Observe(verdict(4, failed))
			rest(30 * time.Second)
			b.Observe(verdict(5, failed))
			rest(30 * time.Second)
		}, a, b)
		want := "firing failed, firing store, again store, again failed, resolved store"
		if d.story() != want {
			t.Errorf("it was told %q,\nwant %q", d.story(), want)
		}
	})
}

func TestAStoreThatCanBeReadOnlyKeepsNoAlertBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, d := &paper{lost: errors.New("disk full")}, &desk{}
		c := courier(p, "a", map[string]*desk{"ops": d})
		during(t, func() {
			for range 10 {
				c.Observe(verdict(0, condition("failed", "", monitor.Critical)))
				rest(30 * time.Second)
			}
			c.Observe(verdict(0))
			rest(30 * time.Second)
		}, c)
		if d.story() != "firing failed, resolved failed" {
			t.Errorf("it was told %q", d.story())
		}
	})
}

func TestARunFromCronDeliversBeforeItEndsAndIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, good, bad := &paper{}, &desk{}, &desk{hang: true}
		for i := range int64(4) { // each is a process
			began := time.Now()
			c := courier(p, "a", map[string]*desk{"good": good, "bad": bad})
			c.Flush(t.Context(), verdict(i+1, condition("failed", "", monitor.Critical)), 20*time.Second)
			if took := time.Since(began); took > 25*time.Second {
				t.Errorf("it took %s", took)
			}
			rest(time.Minute)
		}
		bad.set(nil, false)
		c := courier(p, "a", map[string]*desk{"good": good, "bad": bad})
		rest(10 * time.Minute)
		c.Flush(t.Context(), verdict(9), 20*time.Second)
		if good.story() != "firing failed, resolved failed" || bad.story() != "resolved failed" {
			t.Errorf("told were %q and %q", good.story(), bad.story())
		}
	})
}

// A tardy receiver answers late.
type tardy struct {
	desk
	after time.Duration
}

// Send takes notices after a while.
func (d *tardy) Send(ctx context.Context, notices []alert.Notice) error {
	time.Sleep(d.after)
	return d.desk.Send(ctx, notices)
}

// Whoever has an answer when its time is over says so: then people may have heard of it twice.
func TestAnAlertThatMayHaveBeenToldTwiceIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			p       paper
			log     strings.Builder
			d       = &tardy{after: 70 * time.Second}
			hosts   []*alert.Courier
			handler = slog.NewTextHandler(&log, nil) // it has a lock
		)
		for _, host := range []string{"a", "b"} {
			hosts = append(hosts, alert.NewCourier(alert.Options{
				Memory: &p, Who: host, Host: host, Log: slog.New(handler), Within: 5 * time.Minute,
				Channels: []alert.Channel{{Settings: alert.Settings{Name: "ops"}, Sender: d}},
			}))
		}
		during(t, func() {
			hosts[0].Observe(verdict(1, condition("failed", "", monitor.Critical)))
			rest(65 * time.Second)
			hosts[1].Observe(verdict(2, condition("failed", "", monitor.Critical)))
			rest(3 * time.Minute)
		}, hosts...)
		const late = "delivered late: others may have told it, too\" channel=ops condition=failed"
		if d.story() != "firing failed, firing failed" || strings.Count(log.String(), late) < 1 {
			t.Errorf("it was told %q, and the log is\n%s", d.story(), log.String())
		}
	})
}

func TestADeadMansSwitchIsPressedAtHealthyRoundsOnly(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	pulse := alert.NewPulse(r.address(), nil)
	for i, round := range []monitor.Round{
		{Revision: 1}, {Revision: 2, Verdict: monitor.Verdict{Level: monitor.Warning}},
		{Revision: 3, Verdict: monitor.Verdict{Level: monitor.Unknown}},
		{Revision: 4, Verdict: monitor.Verdict{Level: monitor.Critical}},
		{Revision: 0}, // nobody remembers it
	} {
		round.At = noon
		c := alert.NewCourier(alert.Options{Memory: &paper{}, Who: "a", Pulse: pulse})
		c.Flush(t.Context(), round, time.Second)
		if got, want := len(r.taken()), min(i+1, 2); got != want {
			t.Errorf("after round %d there were %d signs of life, want %d", i, got, want)
		}
	}
	if r.requests[0].Method != http.MethodGet || r.requests[0].URL.Path != "/"+canaryPath {
		t.Errorf("it asks %s %s", r.requests[0].Method, r.requests[0].URL)
	}
}
