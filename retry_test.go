package posthorn_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
)

var (
	errBoo = errors.New("boo")
	now    = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
)

// A moody error names its class.
type moody string

// Error is its text.
func (m moody) Error() string { return string(m) }

// ErrorClass is its class.
func (m moody) ErrorClass() string { return string(m) }

func attempt(n int) driver.Delivery {
	return driver.Delivery{Envelope: driver.Envelope{ID: "m", Attempt: n, SentAt: now}, Deliveries: n + 1}
}

func TestDecideKnowsEveryClass(t *testing.T) {
	exact := posthorn.RetryPolicy{Jitter: -1}
	classes := posthorn.RetryPolicy{Jitter: -1, Classes: map[driver.Class]posthorn.RetryPolicy{
		driver.ClassTimeout: {MaxRetries: posthorn.NoRetry}, "mood": {MaxRetries: 1, Delay: time.Minute, Jitter: -1},
	}}
	retry := func(c driver.Class, d time.Duration) posthorn.Outcome {
		return posthorn.Outcome{Verdict: driver.Retry, Class: c, Delay: d}
	}
	bury := func(c driver.Class, reason string) posthorn.Outcome {
		return posthorn.Outcome{Verdict: driver.Bury, Class: c, Reason: reason}
	}
	release := func(c driver.Class, d time.Duration) posthorn.Outcome {
		return posthorn.Outcome{Verdict: driver.Release, Class: c, Delay: d}
	}
	for name, c := range map[string]struct {
		policy posthorn.RetryPolicy
		d      driver.Delivery
		err    error
		want   posthorn.Outcome
	}{
		"done":                {exact, attempt(0), nil, posthorn.Outcome{Class: driver.ClassDone}},
		"first failure":       {exact, attempt(0), errBoo, retry(driver.ClassFailure, time.Second)},
		"third failure":       {exact, attempt(2), errBoo, retry(driver.ClassFailure, 4*time.Second)},
		"last failure":        {exact, attempt(3), errBoo, bury(driver.ClassFailure, driver.ReasonExhausted)},
		"beyond the last":     {exact, attempt(9), errBoo, bury(driver.ClassFailure, driver.ReasonExhausted)},
		"panic":               {exact, attempt(0), &posthorn.PanicError{}, retry(driver.ClassPanic, time.Second)},
		"timeout":             {exact, attempt(0), posthorn.ErrTimeout, retry(driver.ClassTimeout, time.Second)},
		"stuck":               {exact, attempt(0), &driver.StuckError{}, retry(driver.ClassTimeout, time.Second)},
		"deadline of its own": {exact, attempt(0), context.DeadlineExceeded, retry(driver.ClassFailure, time.Second)},
		"reject":              {exact, attempt(0), posthorn.Reject(errBoo), bury(driver.ClassReject, driver.ReasonRejected)},
		"reject nil":          {exact, attempt(0), posthorn.Reject(nil), bury(driver.ClassReject, driver.ReasonRejected)},
		"reject, wrapped": {exact, attempt(0), fmt.Errorf("x: %w", posthorn.Reject(errBoo)),
			bury(driver.ClassReject, driver.ReasonRejected)},
		"invalid": {exact, attempt(0), &posthorn.InvalidError{Err: errBoo},
			bury(driver.ClassInvalid, driver.ReasonInvalid)},
		"undecodable": {exact, attempt(0), &posthorn.DecodeError{Err: errBoo},
			bury(driver.ClassUndecodable, driver.ReasonUndecodable)},
		"interrupted": {exact, attempt(3), posthorn.ErrShutdown, release(driver.ClassInterrupted, 0)},
		"lease lost":  {exact, attempt(3), driver.ErrLeaseLost, release(driver.ClassLeaseLost, 0)},
		"snooze":      {exact, attempt(9), posthorn.Snooze(time.Hour), release(driver.ClassSnooze, time.Hour)},
		"snooze back": {exact, attempt(9), posthorn.Snooze(-time.Hour), release(driver.ClassSnooze, 0)},
		"retry after": {exact, attempt(0), posthorn.RetryAfter(9*time.Hour, errBoo), retry(driver.ClassFailure, 9*time.Hour)},
		"retry after nil": {exact, attempt(0), posthorn.RetryAfter(time.Hour, nil),
			retry(driver.ClassFailure, time.Hour)},
		"retry after, exhausted": {exact, attempt(3), posthorn.RetryAfter(time.Hour, errBoo),
			bury(driver.ClassFailure, driver.ReasonExhausted)},
		"no retry": {posthorn.RetryPolicy{MaxRetries: posthorn.NoRetry}, attempt(0), errBoo,
			bury(driver.ClassFailure, driver.ReasonExhausted)},
		"constant delay": {posthorn.RetryPolicy{Multiplier: 1, Jitter: -1, MaxRetries: 99}, attempt(50), errBoo,
			retry(driver.ClassFailure, time.Second)},
		"ceiling": {posthorn.RetryPolicy{Jitter: -1, MaxRetries: 5000}, attempt(4000), errBoo,
			retry(driver.ClassFailure, time.Hour)},
		"own ceiling": {posthorn.RetryPolicy{Jitter: -1, MaxDelay: 3 * time.Second}, attempt(2), errBoo,
			retry(driver.ClassFailure, 3*time.Second)},
		"class policy":         {classes, attempt(0), posthorn.ErrTimeout, bury(driver.ClassTimeout, driver.ReasonExhausted)},
		"own class":            {classes, attempt(0), moody("mood"), retry("mood", time.Minute)},
		"own class, exhausted": {classes, attempt(1), moody("mood"), bury("mood", driver.ReasonExhausted)},
		"class without policy": {classes, attempt(0), moody("other"), retry("other", time.Second)},
	} {
		if got := c.policy.Decide(c.d, c.err, now); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestFaultsOfTheStoreAreGivenBackSoonAndEverMoreSlowly(t *testing.T) {
	err := &posthorn.InfrastructureError{Err: posthorn.Reject(errBoo).(interface{ Unwrap() error }).Unwrap()}
	var last time.Duration
	for n := range 40 {
		d := attempt(2)
		d.Deliveries += n
		out := posthorn.RetryPolicy{MaxRetries: posthorn.NoRetry}.Decide(d, err, now)
		if out.Verdict != driver.Release || out.Class != driver.ClassTransient || out.Class.Counts() {
			t.Fatalf("outcome: %+v", out)
		}
		if out.Delay < 100*time.Millisecond || out.Delay > 30*time.Second {
			t.Errorf("delay %s is out of bounds", out.Delay)
		}
		last = out.Delay
	}
	if last < 15*time.Second {
		t.Errorf("after 40 faults the delay is only %s", last)
	}
}

func TestUnknownKindHasAnHoursGraceAfterItsDueTime(t *testing.T) {
	for name, c := range map[string]struct {
		sent, due time.Duration // before now
		want      driver.Verdict
	}{
		"fresh":                   {0, 0, driver.Release},
		"within the grace":        {59 * time.Minute, 0, driver.Release},
		"beyond it":               {61 * time.Minute, 90 * time.Minute, driver.Bury},
		"sent long ago, just due": {100 * time.Hour, time.Minute, driver.Release},
	} {
		d := attempt(0)
		d.SentAt, d.NotBefore = now.Add(-c.sent), now.Add(-c.due)
		out := posthorn.RetryPolicy{}.Decide(d, fmt.Errorf("%w: x", posthorn.ErrUnknownKind), now)
		if out.Verdict != c.want || out.Class.Counts() || out.Verdict == driver.Release && out.Delay <= 0 {
			t.Errorf("%s: %+v", name, out)
		}
		if c.want == driver.Bury && out.Reason != driver.ReasonUnknownKind {
			t.Errorf("%s: reason %q", name, out.Reason)
		}
	}
}

func TestJitterSpreadsMessagesOverItsWholeRangeAndNoFurther(t *testing.T) {
	policy := posthorn.RetryPolicy{Delay: 10 * time.Second, Jitter: 0.5}
	low, high := time.Hour, time.Duration(0)
	for i := range 2000 {
		d := attempt(0)
		d.ID = fmt.Sprint("m", i)
		delay := policy.Decide(d, errBoo, now).Delay
		low, high = min(low, delay), max(high, delay)
	}
	if low < 5*time.Second || high > 15*time.Second {
		t.Errorf("delays from %s to %s leave 5s … 15s", low, high)
	}
	if low > 5500*time.Millisecond || high < 14500*time.Millisecond {
		t.Errorf("delays from %s to %s do not use 5s … 15s", low, high)
	}
}

func TestDelayIsDeterministicAndWithinItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := posthorn.RetryPolicy{
			MaxRetries: rapid.IntRange(0, math.MaxInt32).Draw(t, "retries"),
			Delay:      time.Duration(rapid.Int64Range(0, math.MaxInt64).Draw(t, "delay")),
			Multiplier: rapid.SampledFrom([]float64{0, 1, 1.5, 2, 1e300}).Draw(t, "multiplier"),
			MaxDelay:   time.Duration(rapid.Int64Range(0, math.MaxInt64).Draw(t, "max")),
			Jitter:     rapid.Float64Range(-1, 1).Draw(t, "jitter"),
		}
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		d := attempt(rapid.IntRange(0, 1<<30).Draw(t, "attempt"))
		d.ID = rapid.String().Draw(t, "id")
		out := p.Decide(d, errBoo, now)
		if out != p.Decide(d, errBoo, now) {
			t.Fatal("two decisions about the same differ")
		}
		ceiling := p.MaxDelay
		if ceiling == 0 {
			ceiling = posthorn.DefaultMaxDelay
		}
		if out.Delay < 0 || out.Delay > ceiling {
			t.Fatalf("delay %d is not within 0 … %d", out.Delay, ceiling)
		}
		if retries := p.MaxRetries; retries > 0 && (out.Verdict == driver.Retry) != (d.Attempt < retries) {
			t.Fatalf("attempt %d of %d retries: %s", d.Attempt, retries, out.Verdict)
		}
	})
}

func TestPolicyThatMakesNoSenseIsRefused(t *testing.T) {
	bad := posthorn.RetryPolicy{Delay: -1}
	for _, p := range []posthorn.RetryPolicy{
		bad, {MaxRetries: -2}, {MaxDelay: -1}, {Multiplier: 0.9}, {Multiplier: -1}, {Multiplier: math.NaN()},
		{Multiplier: math.Inf(1)}, {Jitter: 1.1}, {Jitter: math.NaN()},
		{Classes: map[driver.Class]posthorn.RetryPolicy{"x": bad}},
	} {
		if p.Check() == nil {
			t.Errorf("%+v is accepted", p)
		}
	}
	if err := (posthorn.RetryPolicy{MaxRetries: posthorn.NoRetry, Jitter: -1, Multiplier: 1}).Check(); err != nil {
		t.Error(err)
	}
}
