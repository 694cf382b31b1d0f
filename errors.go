package posthorn

import (
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// Causes for which a handler's context ends; see context.Cause.
var (
	// ErrTimeout: the handler ran into its deadline.
	ErrTimeout = driver.ErrTimeout
	// ErrShutdown: the worker stops and cannot wait any longer.
	ErrShutdown = driver.ErrShutdown
)

// ErrUnknownKind: no handler is registered for the message's kind.
var ErrUnknownKind = errors.New("no handler for this kind")

// rejectError is an error that makes the message a dead letter at once.
type rejectError struct{ err error }

func (e *rejectError) Error() string { return e.err.Error() }
func (e *rejectError) Unwrap() error { return e.err }

// laterError asks for another try after a time of the handler's choice.
type laterError struct {
	err    error
	after  time.Duration
	snooze bool
}

func (e *laterError) Error() string { return e.err.Error() }
func (e *laterError) Unwrap() error { return e.err }

// Reject makes an error final: the message becomes a dead letter at once,
// whatever its retry policy says. A nil error is kept as one.
func Reject(err error) error {
	if err == nil {
		err = errors.New("rejected")
	}
	return &rejectError{err: err}
}

// RetryAfter is a failure that counts, with the delay before the next attempt
// chosen by the handler; a server's Retry-After is the usual source. The
// number of attempts stays bounded by the retry policy.
func RetryAfter(d time.Duration, err error) error {
	if err == nil {
		err = errors.New("retry later")
	}
	return &laterError{err: err, after: max(d, 0)}
}

// Snooze asks for the message to come again after d, at no cost: it is no
// failure and no attempt. A transaction of the handler is rolled back.
func Snooze(d time.Duration) error {
	d = max(d, 0)
	return &laterError{err: fmt.Errorf("snoozed for %s", d), after: d, snooze: true}
}

// faultError is an error that says which fault it stands for.
type faultError struct {
	err   error
	fault string
}

func (e *faultError) Error() string       { return e.err.Error() }
func (e *faultError) Unwrap() error       { return e.err }
func (e *faultError) Fingerprint() string { return e.fault }

// WithFingerprint says which fault an error stands for: dead letters of one kind and
// class that died of errors with the same fault are one group, whatever their texts. An
// error type can say it by itself, by a method Fingerprint() string. A nil error stays nil.
func WithFingerprint(err error, fault string) error {
	if err == nil {
		return nil
	}
	return &faultError{err: err, fault: fault}
}

// An InvalidError says that Validate refused the message.
type InvalidError struct{ Err error }

// Error gives the validator's words.
func (e *InvalidError) Error() string { return "invalid message: " + e.Err.Error() }

// Unwrap returns the validator's error.
func (e *InvalidError) Unwrap() error { return e.Err }

// A DecodeError says that a message's body could not be decoded.
type DecodeError struct{ Err error }

// Error gives the decoder's words.
func (e *DecodeError) Error() string { return "decode message: " + e.Err.Error() }

// Unwrap returns the decoder's error.
func (e *DecodeError) Unwrap() error { return e.Err }

// A PanicError is a handler's panic, recovered.
type PanicError struct {
	Value any
	Stack string
}

// Error gives the panic's value.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// An InfrastructureError is a fault of the store or of the way to it. It costs
// the message no attempt.
type InfrastructureError struct{ Err error }

// Error gives the fault.
func (e *InfrastructureError) Error() string { return e.Err.Error() }

// Unwrap returns the fault.
func (e *InfrastructureError) Unwrap() error { return e.Err }

// ClassOf says how a handler ended that returned err. An error may choose a
// class of its own by a method ErrorClass() string; a retry policy for that
// class is then used.
func ClassOf(err error) driver.Class {
	if err == nil {
		return driver.ClassDone // most end so: nothing is allocated to look further
	}
	return classOfError(err)
}

func classOfError(err error) driver.Class {
	var (
		later     *laterError
		reject    *rejectError
		invalid   *InvalidError
		undecoded *DecodeError
		panicked  *PanicError
		infra     *InfrastructureError
		stuck     *driver.StuckError
		named     interface{ ErrorClass() string }
	)
	switch {
	case errors.Is(err, driver.ErrLeaseLost):
		return driver.ClassLeaseLost
	case errors.As(err, &panicked):
		return driver.ClassPanic
	case errors.As(err, &reject):
		return driver.ClassReject
	case errors.As(err, &invalid):
		return driver.ClassInvalid
	case errors.As(err, &undecoded):
		return driver.ClassUndecodable
	case errors.As(err, &later) && later.snooze:
		return driver.ClassSnooze
	case errors.As(err, &infra):
		return driver.ClassTransient
	case errors.Is(err, ErrUnknownKind):
		return driver.ClassUnknownKind
	case errors.Is(err, ErrShutdown):
		return driver.ClassInterrupted
	case errors.Is(err, ErrTimeout), errors.As(err, &stuck):
		return driver.ClassTimeout
	case errors.As(err, &named):
		return driver.Class(named.ErrorClass())
	default:
		return driver.ClassFailure
	}
}
