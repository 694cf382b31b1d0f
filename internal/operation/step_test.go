package operation_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn/internal/operation"
)

// now is when all steps are taken, but where time matters.
var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// errSpoilt is what a step fails with that meets the letter that cannot be changed.
var errSpoilt = errors.New("the letter cannot be changed")

// A drawer has the letters of an operation.
type drawer struct {
	waiting []int64
	fate    map[int64]operation.Fate
	live    map[int64]bool
	dead    map[int64]bool // again
	spoilt  int64
	sizes   map[int64]int64
}

// newDrawer has letters from 1 on.
func newDrawer(n int) *drawer {
	d := &drawer{fate: map[int64]operation.Fate{}, live: map[int64]bool{}, dead: map[int64]bool{}}
	d.sizes = map[int64]int64{}
	for i := range n {
		d.waiting = append(d.waiting, int64(i+1))
	}
	return d
}

func (d *drawer) Freeze(_ context.Context, most int) (int, int64, error) {
	n := min(most, len(d.waiting)-len(d.fate))
	for range n {
		d.fate[int64(len(d.fate)+1)] = operation.FateWaiting
	}
	return n, int64(len(d.fate)), nil
}

// of are the letters of a fate, in their order.
func (d *drawer) of(fate operation.Fate) (out []int64) {
	for _, seq := range slices.Sorted(maps.Keys(d.fate)) {
		if d.fate[seq] == fate {
			out = append(out, seq)
		}
	}
	return out
}

func (d *drawer) Flying(_ context.Context, after int64, most int) (out []operation.Flyer, err error) {
	for _, seq := range d.of(operation.FateFlying) {
		if seq > after && len(out) < most {
			out = append(out, operation.Flyer{Letter: seq, Live: d.live[seq], Dead: d.dead[seq]})
		}
	}
	return out, nil
}

func (d *drawer) Next(_ context.Context, most int) ([]int64, error) {
	next := d.of(operation.FateWaiting)
	return next[:min(most, len(next))], nil
}

func (d *drawer) Lock(_ context.Context, letters []int64) (map[int64]operation.Letter, error) {
	out := map[int64]operation.Letter{}
	for _, seq := range letters {
		out[seq] = operation.Letter{Seq: seq, ID: fmt.Sprint(seq), Fits: true, Size: d.sizes[seq]}
	}
	return out, nil
}

func (d *drawer) Change(_ context.Context, ls []operation.Letter, found operation.Fates) error {
	for _, l := range ls {
		if l.Seq == d.spoilt {
			return errSpoilt
		}
	}
	for _, l := range ls {
		d.live[l.Seq] = true
		found.Add(operation.FateFlying, l.Seq)
	}
	return nil
}

func (d *drawer) Mark(_ context.Context, found operation.Fates) error {
	for fate, letters := range found {
		for _, seq := range letters {
			d.fate[seq] = fate
		}
	}
	return nil
}

// land ends what is in flight.
func (d *drawer) land(ok bool) {
	for _, seq := range d.of(operation.FateFlying) {
		d.live[seq], d.dead[seq] = false, !ok
	}
}

// begun is a retry of so many letters that are written down.
func begun(t require, d *drawer) *operation.Course {
	c := &operation.Course{State: operation.Freezing, Waits: true, Until: int64(len(d.waiting))}
	for c.State == operation.Freezing {
		step(t, c, d, operation.Pace{})
	}
	return c
}

// A require is a test of either kind.
type require interface {
	Helper()
	Fatalf(format string, args ...any)
}

// step takes a step that must go well.
func step(t require, c *operation.Course, d *drawer, p operation.Pace) operation.Step {
	t.Helper()
	s := operation.Step{Course: c, Letters: d, Bounds: operation.Usual(), Pace: p, Now: now}
	if err := s.Run(context.Background()); err != nil {
		t.Fatalf("step: %v", err)
	}
	return s
}

func TestNoMoreThanTheWindowIsInFlight(t *testing.T) {
	d := newDrawer(2500)
	c := begun(t, d)
	for range 50 {
		step(t, c, d, operation.Pace{})
	}
	if c.Flying != 2000 || c.Left() != 500 {
		t.Errorf("%d letters fly, %d are left", c.Flying, c.Left())
	}
}

func TestALetterThatCannotBeChangedIsFoundAndRefusedAlone(t *testing.T) {
	d := newDrawer(300)
	d.spoilt = 77
	c := begun(t, d)
	var p operation.Pace
	for range 100 {
		s := operation.Step{Course: &operation.Course{}, Letters: d, Bounds: operation.Usual(), Pace: p, Now: now}
		*s.Course = *c
		if err := s.Run(context.Background()); err != nil {
			p.Failed(operation.Usual())
			continue
		}
		*c = *s.Course
		p.Well()
	}
	if refused := d.of(operation.FateRefused); !slices.Equal(refused, []int64{77}) || c.Refused != 1 || c.Flying != 299 {
		t.Errorf("refused are %v; the operation says %+v", refused, c)
	}
}

func TestLettersThatAreTooLargeTogetherGoOneAfterTheOther(t *testing.T) {
	d := newDrawer(3)
	for seq := range int64(4) {
		d.sizes[seq] = operation.Usual().Bytes - 1
	}
	c := begun(t, d)
	for want := 1; want <= 3; want++ {
		if s := step(t, c, d, operation.Pace{}); s.Moved != 1 || c.Flying != want {
			t.Errorf("step %d moved %d letters; %d fly", want, s.Moved, c.Flying)
		}
	}
}

func TestAnEndThatSomebodyCausedIsNoneThatWasReached(t *testing.T) {
	d := newDrawer(10)
	c := begun(t, d)
	step(t, c, d, operation.Pace{})
	if got := c.Turn(operation.Cancelled, now); got != operation.Changed || c.Over() || !c.Active() {
		t.Errorf("cancelled: %v, over: %t, active: %t", got, c.Over(), c.Active())
	}
	d.land(false)
	step(t, c, d, operation.Pace{})
	if !c.Over() || c.Failed != 10 || c.State != operation.Cancelled {
		t.Errorf("the operation says %+v", c)
	}
	for _, to := range []operation.State{operation.Paused, operation.Running} {
		if got := c.Turn(to, now); got != operation.Mismatch {
			t.Errorf("what is cancelled can be %s: %v", to, got)
		}
	}
}

// leaseFor is how long a lease lasts in the history of one.
const leaseFor = 10 * time.Second

// A tenancy is the history of a lease, as those see it who hold it.
type tenancy struct {
	operation.Lease
	at, until time.Time
	fences    map[string]int64
}

func TestALeaseHasOneHolderAndALostOneComesNotBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &tenancy{at: now, fences: map[string]int64{}}
		t.Repeat(map[string]func(*rapid.T){
			"time":  func(t *rapid.T) { l.at = l.at.Add(time.Duration(rapid.IntRange(0, 12).Draw(t, "s")) * time.Second) },
			"renew": func(*rapid.T) { l.renew() },
			"take":  func(t *rapid.T) { l.take(t, rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "who")) },
			"":      l.check,
		})
	})
}

// renew lets the holder have it for longer, when that is due.
func (l *tenancy) renew() {
	if l.Holder != "" && l.Due(leaseFor, l.at) {
		l.Renew(l.Holder, leaseFor, l.at)
		l.until = l.at.Add(leaseFor)
	}
}

// take is a try to have it.
func (l *tenancy) take(t *rapid.T, who string) {
	free := !l.until.After(l.at)
	if took := l.Take(who, leaseFor, l.at); took != free {
		t.Fatalf("%s took it: %t, it was free: %t", who, took, free)
	}
	if free {
		l.fences[who], l.until = l.Fence, l.at.Add(leaseFor)
	}
}

// check counts who believes to hold it and does.
func (l *tenancy) check(t *rapid.T) {
	stands := 0
	for _, fence := range l.fences {
		if l.Stands(fence) {
			stands++
		}
	}
	if stands != min(1, len(l.fences)) {
		t.Fatalf("%d of %v stand beside %d", stands, l.fences, l.Fence)
	}
}
