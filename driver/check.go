package driver

import (
	"fmt"
	"time"
	"unicode/utf8"
)

// The limits of an envelope's fields. Each is refused with the limit named.
const (
	MaxName        = 128     // bytes of an id or a kind
	MaxQueue       = 64      // bytes of a queue's name
	MaxBody        = 1 << 20 // bytes of a body, unless the transport says otherwise
	MaxHeaders     = 64      // header fields
	MaxHeaderName  = 128     // bytes
	MaxHeaderValue = 8 << 10 // bytes
	MaxHeaderTotal = 32 << 10
	MinPriority    = -100
	MaxPriority    = 100
)

// MaxWeight bounds the weight of a queue.
const MaxWeight = 10_000

// Check reports the first rule that the subscription breaks, as ErrInvalid.
func (s Subscription) Check() error {
	switch {
	case len(s.Queues) == 0:
		return fmt.Errorf("%w: no queue", ErrInvalid)
	case s.Lease < time.Millisecond:
		return fmt.Errorf("%w: lease %s is below 1ms", ErrInvalid, s.Lease)
	case len(s.Weights) > 0 && len(s.Weights) != len(s.Queues):
		return fmt.Errorf("%w: %d weights for %d queues", ErrInvalid, len(s.Weights), len(s.Queues))
	}
	for _, q := range s.Queues {
		if err := CheckQueue(q); err != nil {
			return err
		}
	}
	for _, w := range s.Weights {
		if w < 1 || w > MaxWeight {
			return fmt.Errorf("%w: weight %d is not within 1 … %d", ErrInvalid, w, MaxWeight)
		}
	}
	return nil
}

// Check reports the first rule that the envelope breaks, as ErrInvalid or
// ErrTooLarge. maxBody is the transport's own limit.
func (e Envelope) Check(maxBody int) error {
	if err := checkName("id", e.ID, MaxName, charset{idLow, idHigh}); err != nil {
		return err
	}
	if err := checkName("kind", e.Kind, MaxName, charset{kindLow, kindHigh}); err != nil {
		return err
	}
	if err := CheckQueue(e.Queue); err != nil {
		return err
	}
	if e.Priority < MinPriority || e.Priority > MaxPriority {
		return fmt.Errorf("%w: priority %d is not within %d … %d", ErrInvalid, e.Priority, MinPriority, MaxPriority)
	}
	if e.Attempt < 0 {
		return fmt.Errorf("%w: attempt %d is negative", ErrInvalid, e.Attempt)
	}
	if len(e.Body) > maxBody {
		return fmt.Errorf("%w: body has %d bytes, the limit is %d", ErrTooLarge, len(e.Body), maxBody)
	}
	return checkHeader(e.Header)
}

// CheckQueue reports whether name can be a queue's: letters, digits, '_', '-'
// and '.', starting with a letter or a digit, at most MaxQueue bytes.
func CheckQueue(name string) error {
	return checkName("queue", name, MaxQueue, charset{queueLow, queueHigh})
}

func checkName(what, s string, limit int, ok charset) error {
	if s == "" {
		return fmt.Errorf("%w: %s is empty", ErrInvalid, what)
	}
	if len(s) > limit {
		return fmt.Errorf("%w: %s has %d bytes, the limit is %d", ErrTooLarge, what, len(s), limit)
	}
	for i := range len(s) {
		if c := s[i]; !ok.has(c) || i == 0 && !(charset{digits, letters}).has(c) {
			return fmt.Errorf("%w: %s %q has %q at byte %d", ErrInvalid, what, s, c, i)
		}
	}
	return nil
}

func checkHeader(h map[string]string) error {
	if len(h) > MaxHeaders {
		return fmt.Errorf("%w: %d header fields, the limit is %d", ErrTooLarge, len(h), MaxHeaders)
	}
	total := 0
	for k, v := range h {
		if err := checkName("header name", k, MaxHeaderName, charset{idLow, idHigh}); err != nil {
			return err
		}
		if len(v) > MaxHeaderValue {
			return fmt.Errorf("%w: header %s has %d bytes, the limit is %d", ErrTooLarge, k, len(v), MaxHeaderValue)
		}
		if !utf8.ValidString(v) {
			return fmt.Errorf("%w: header %s is not valid UTF-8", ErrInvalid, k)
		}
		total += len(k) + len(v)
	}
	if total > MaxHeaderTotal {
		return fmt.Errorf("%w: the header has %d bytes, the limit is %d", ErrTooLarge, total, MaxHeaderTotal)
	}
	return nil
}

// A charset is a set of ASCII characters: a bit for each.
type charset struct{ low, high uint64 }

// has reports whether a byte is in the set. It asks without a branch, since bytes of ids are random.
func (s charset) has(c byte) bool { return (s.low>>c|s.high>>(c-64))&1 != 0 }

// The sets: bits of the low half, and of the high one.
const (
	digits, letters = 1<<('9'+1) - 1<<'0', 1<<('Z'-63) - 1<<('A'-64) + 1<<('z'-63) - 1<<('a'-64)

	queueLow, queueHigh = digits | 1<<'-' | 1<<'.', letters | 1<<('_'-64)
	kindLow, kindHigh   = queueLow | 1<<':' | 1<<'/', queueHigh | 1<<('\\'-64)
	idLow, idHigh       = kindLow | 1<<'+' | 1<<'=' | 1<<'#', kindHigh | 1<<('@'-64)
)

// CheckSend reports why a transport with these capabilities must refuse the
// envelope: a broken rule, or a capability that it has not declared.
func CheckSend(c Capabilities, e Envelope) error {
	limit := c.MaxBody
	if limit == 0 {
		limit = MaxBody
	}
	if err := e.Check(limit); err != nil {
		return err
	}
	if !c.Delay && (e.Delay > 0 || !e.NotBefore.IsZero()) {
		return fmt.Errorf("delay: %w", ErrUnsupported)
	}
	if !c.Priority && e.Priority != 0 {
		return fmt.Errorf("priority: %w", ErrUnsupported)
	}
	return nil
}
