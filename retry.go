package posthorn

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// NoRetry as RetryPolicy.MaxRetries means that the first failure is the last.
const NoRetry = -1

// The defaults of a RetryPolicy.
const (
	DefaultMaxRetries = 3
	DefaultDelay      = time.Second
	DefaultMultiplier = 2.0
	DefaultMaxDelay   = time.Hour
	DefaultJitter     = 0.1
)

// Bounds of the wait after a fault of the store, which costs no attempt, and
// of a kind that no handler knows yet.
const (
	minTransientDelay = 200 * time.Millisecond
	maxTransientDelay = 30 * time.Second
	unknownKindGrace  = time.Hour
)

// A RetryPolicy says whether and when a failed message is tried again. The
// zero value of a field means its default. It is a value: it may be copied and
// used concurrently.
type RetryPolicy struct {
	MaxRetries int           // retries after the first attempt; 0 means 3, NoRetry means none
	Delay      time.Duration // before the first retry; 0 means 1 s
	Multiplier float64       // growth of the delay; 0 means 2, 1 keeps it
	MaxDelay   time.Duration // the delay's ceiling; 0 means 1 h
	Jitter     float64       // part of the delay, up or down, by chance; 0 means 0.1, negative means none

	// Classes has other policies for errors of some classes. An absent class
	// falls back to this policy.
	Classes map[driver.Class]RetryPolicy
}

// An Outcome is what Decide made of an attempt.
type Outcome struct {
	Verdict driver.Verdict
	Class   driver.Class
	Reason  string        // for Bury
	Delay   time.Duration // for Retry and Release
}

// Check reports a field that makes no sense.
func (p RetryPolicy) Check() error {
	switch {
	case p.MaxRetries < NoRetry:
		return fmt.Errorf("max_retries %d is negative", p.MaxRetries)
	case p.Delay < 0 || p.MaxDelay < 0:
		return errors.New("a retry delay is negative")
	case p.Multiplier != 0 && p.Multiplier < 1 || math.IsNaN(p.Multiplier) || math.IsInf(p.Multiplier, 0):
		return fmt.Errorf("multiplier %v is below 1", p.Multiplier)
	case p.Jitter > 1 || math.IsNaN(p.Jitter):
		return fmt.Errorf("jitter %v is over 1", p.Jitter)
	}
	for class, other := range p.Classes {
		if err := other.Check(); err != nil {
			return fmt.Errorf("class %s: %w", class, err)
		}
	}
	return nil
}

// Decide says what becomes of a delivery whose handler returned err at now. It
// is pure: the same arguments give the same outcome; the jitter comes from the
// message's id and attempt.
func (p RetryPolicy) Decide(d driver.Delivery, err error, now time.Time) Outcome {
	class := ClassOf(err)
	out := Outcome{Class: class}
	switch class {
	case driver.ClassDone:
		out.Verdict = driver.Ack
	case driver.ClassInterrupted, driver.ClassLeaseLost: // a lease may be given up here before it is over in the store
		out.Verdict = driver.Release
	case driver.ClassSnooze:
		out.Verdict, out.Delay = driver.Release, askedDelay(err)
	case driver.ClassTransient:
		out.Verdict, out.Delay = driver.Release, transientDelay(d)
	case driver.ClassUnknownKind:
		out = decideUnknown(d, now)
	case driver.ClassReject:
		out.Verdict, out.Reason = driver.Bury, driver.ReasonRejected
	case driver.ClassInvalid:
		out.Verdict, out.Reason = driver.Bury, driver.ReasonInvalid
	case driver.ClassUndecodable:
		out.Verdict, out.Reason = driver.Bury, driver.ReasonUndecodable
	default:
		out = p.forClass(class).decideFailure(d, err, class)
	}
	return out
}

// decideFailure is for an attempt that counts.
func (p RetryPolicy) decideFailure(d driver.Delivery, err error, class driver.Class) Outcome {
	if d.Attempt >= p.maxRetries() {
		return Outcome{Verdict: driver.Bury, Class: class, Reason: driver.ReasonExhausted}
	}
	delay := p.delay(d)
	if asked := askedDelay(err); asked > 0 {
		delay = asked
	}
	return Outcome{Verdict: driver.Retry, Class: class, Delay: delay}
}

// decideUnknown waits for a deploy to bring the handler, and gives up in the end.
func decideUnknown(d driver.Delivery, now time.Time) Outcome {
	out := Outcome{Verdict: driver.Release, Class: driver.ClassUnknownKind, Delay: transientDelay(d)}
	if !d.SentAt.IsZero() && now.Sub(later(d.SentAt, d.NotBefore)) > unknownKindGrace {
		out.Verdict, out.Reason = driver.Bury, driver.ReasonUnknownKind
	}
	return out
}

func (p RetryPolicy) forClass(c driver.Class) RetryPolicy {
	if other, ok := p.Classes[c]; ok {
		return other
	}
	return p
}

func (p RetryPolicy) maxRetries() int {
	switch p.MaxRetries {
	case 0:
		return DefaultMaxRetries
	case NoRetry:
		return 0
	}
	return p.MaxRetries
}

// delay is Delay · Multiplier^attempt, bounded, and moved by the jitter.
func (p RetryPolicy) delay(d driver.Delivery) time.Duration {
	base, ceiling := orDefault(p.Delay, DefaultDelay), orDefault(p.MaxDelay, DefaultMaxDelay)
	wait := float64(base) * math.Pow(orDefault(p.Multiplier, DefaultMultiplier), float64(d.Attempt))
	wait = min(wait, float64(ceiling))
	jitter := orDefault(p.Jitter, DefaultJitter)
	if jitter > 0 {
		wait += wait * jitter * (2*chance(d) - 1)
	}
	if wait >= float64(ceiling) { // compared as floats: the largest duration has none of its own
		return ceiling
	}
	return time.Duration(wait)
}

// transientDelay grows with the claims that ended without an attempt, and is
// spread over half of itself, so that a fleet does not come back in step.
func transientDelay(d driver.Delivery) time.Duration {
	n := min(max(d.Deliveries-d.Attempt-1, 0), 16)
	wait := min(minTransientDelay<<n, maxTransientDelay)
	return wait/2 + time.Duration(float64(wait)/2*chance(d))
}

// chance is a number in [0, 1) that depends on the message and its claim alone.
func chance(d driver.Delivery) float64 {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s/%d/%d", d.ID, d.Attempt, d.Deliveries)
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd // the finaliser of MurmurHash3: FNV alone leaves the high bits alike
	x ^= x >> 33
	return float64(x>>11) / (1 << 53)
}

func askedDelay(err error) time.Duration {
	var l *laterError
	if errors.As(err, &l) {
		return l.after
	}
	return 0
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
