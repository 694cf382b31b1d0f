package store

import (
	"errors"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// A planned call lasts for a time, and may last for another one; zero is without end.
type planned struct {
	lasts, may time.Duration
	exit       bool // it ends its goroutine
}

// A plan is a course of planned calls, which goes on whatever comes of them.
type plan struct {
	calls []planned
	n     int
	ends  []error
	after []time.Duration // when each was over, since the beginning
	began time.Time
}

func (p *plan) next() (c caller, limit time.Duration, from time.Time) {
	if p.n == len(p.calls) {
		return nil, 0, from
	}
	return p.calls[p.n], p.calls[p.n].may, time.Now()
}

func (c planned) call() error {
	time.Sleep(c.lasts)
	if c.exit {
		runtime.Goexit()
	}
	return nil
}

func (p *plan) ended(err error) {
	p.n++
	p.ends, p.after = append(p.ends, err), append(p.after, time.Since(p.began))
}

// run runs the plan, and waits for what was left behind.
func (p *plan) run(*testing.T) {
	var r runner
	p.began = time.Now()
	r.run(p)
	r.close()
	time.Sleep(time.Minute)
}

// came is how each call ended: in time, stuck, or by the end of its goroutine.
func (p *plan) came() (ends string) {
	for _, err := range p.ends {
		var behind *driver.StuckError
		switch {
		case errors.As(err, &behind):
			ends += "s"
		case errors.Is(err, errGoexit):
			ends += "e"
		case err == nil:
			ends += "t"
		}
	}
	return ends
}

// Each call is waited for as long as it may last, whatever came before it and however long that might have
// lasted. What is left behind or ends its goroutine is missed by nobody.
func TestACallIsWaitedForAsLongAsItMayLast(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for name, c := range map[string]struct {
		calls []planned
		ends  string // by call: in time, stuck, or by the end of its goroutine
		after []time.Duration
	}{
		"in time":               {[]planned{{s, 2 * s, false}, {s, 0, false}}, "tt", []time.Duration{s, 2 * s}},
		"the first":             {[]planned{{9 * s, s, false}, {s, 2 * s, false}}, "st", []time.Duration{s, 2 * s}},
		"a shorter one":         {[]planned{{s, 60 * s, false}, {9 * s, s, false}}, "ts", []time.Duration{s, 2 * s}},
		"a longer one":          {[]planned{{s, 2 * s, false}, {9 * s, 5 * s, false}}, "ts", []time.Duration{s, 6 * s}},
		"after one without end": {[]planned{{3 * s, 0, false}, {9 * s, s, false}}, "ts", []time.Duration{3 * s, 4 * s}},
		"without end after one": {[]planned{{s, 2 * s, false}, {9 * s, 0, false}}, "tt", []time.Duration{s, 10 * s}},
		"two":                   {[]planned{{9 * s, s, false}, {9 * s, s, false}}, "ss", []time.Duration{s, 2 * s}},
		"one that ends its goroutine": {
			[]planned{{s, 2 * s, true}, {9 * s, s, false}, {s, 0, false}}, "est", []time.Duration{s, 2 * s, 3 * s},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &plan{calls: c.calls}
			synctest.Test(t, p.run)
			if ends := p.came(); ends != c.ends || !slices.Equal(p.after, c.after) {
				t.Errorf("they ended %q after %v, want %q after %v", ends, p.after, c.ends, c.after)
			}
		})
	}
}

// The alarm of an earlier course does not end the call of a later one.
func TestAnAlarmThatIsLeftOverEndsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r runner
		defer r.close()
		for range 3 {
			const s = time.Second
			p := &plan{calls: []planned{{s, 3 * s, false}, {3 * s, 4 * s, false}}}
			r.run(p)
			if err := errors.Join(p.ends...); err != nil || len(p.ends) != 2 {
				t.Errorf("ended with %v", p.ends)
			}
			time.Sleep(time.Second / 2)
		}
	})
}
