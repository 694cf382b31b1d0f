package driver

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The errors of the contract. They are wrapped; compare with errors.Is.
var (
	// ErrLeaseLost: the claim has ended, by a settlement, or because its lease
	// ran out and the message went on; somebody else may hold it now.
	ErrLeaseLost = errors.New("lease lost")
	// ErrUnsupported: the transport has not declared this capability.
	ErrUnsupported = errors.New("not supported by this transport")
	// ErrDuplicate: a live message already has this id.
	ErrDuplicate = errors.New("a live message already has this id")
	// ErrInvalid: the envelope breaks a rule of its fields.
	ErrInvalid = errors.New("invalid envelope")
	// ErrTooLarge: a field is over its limit.
	ErrTooLarge = errors.New("over the size limit")
	// ErrUnavailable: the transport cannot be reached just now.
	ErrUnavailable = errors.New("transport unavailable")
	// ErrOutcomeUnknown: the connection was lost while a commit was under way,
	// and nobody could be asked since; or the disk failed under it, and a crash
	// would show that it had been committed. Neither run nor count it again: the
	// lease decides.
	ErrOutcomeUnknown = errors.New("outcome of the commit is unknown")
	// ErrClosed: the transport or the consumer was closed.
	ErrClosed = errors.New("closed")
	// ErrWrongStore: the transaction belongs to another database.
	ErrWrongStore = errors.New("the transaction belongs to another store")
	// ErrTxDone: the handler has returned, so its transaction is not its own any more.
	ErrTxDone = errors.New("the handler has returned: its transaction is over")
	// ErrTxRefused: the statement would end or escape the handler's transaction.
	ErrTxRefused = errors.New("statement refused inside a handler's transaction")
	// ErrTimeout: the handler ran into its deadline. It is the cause of its context's end.
	ErrTimeout = errors.New("handler timed out")
	// ErrShutdown: the worker stops and cannot wait any longer. It is the cause
	// of a handler's context's end.
	ErrShutdown = errors.New("worker is shutting down")
	// ErrTxEnded: something ended the transaction before the handler returned.
	ErrTxEnded = errors.New("the handler's transaction was ended before it returned")
)

// A LeaseLostError names the deliveries whose claim was lost. errors.Is(err,
// ErrLeaseLost) is true for it.
type LeaseLostError struct{ Lost []Delivery }

// Error names the messages.
func (e *LeaseLostError) Error() string {
	ids := make([]string, 0, len(e.Lost))
	for i, d := range e.Lost {
		if i == 5 {
			ids = append(ids, fmt.Sprintf("and %d more", len(e.Lost)-i))
			break
		}
		ids = append(ids, d.ID)
	}
	return ErrLeaseLost.Error() + ": " + strings.Join(ids, ", ")
}

// Unwrap makes errors.Is(err, ErrLeaseLost) true.
func (e *LeaseLostError) Unwrap() error { return ErrLeaseLost }

// A StuckError is the outcome of a unit whose effect was still running after
// its deadline. Its transaction was rolled back and taken away from it; the
// claim is still held. Done is closed when the effect returns at last.
type StuckError struct {
	After time.Duration
	Done  <-chan struct{}
}

// Error says how long the effect had been running.
func (e *StuckError) Error() string {
	return fmt.Sprintf("handler still running after %s: its transaction was taken away", e.After)
}

// A QueuedError is the outcome of a unit one of whose queued statements failed. It is
// the unit's own, as what its effect returns is.
type QueuedError struct{ Err error }

// Error is the statement's error.
func (e *QueuedError) Error() string { return "queued statement: " + e.Err.Error() }

// Unwrap returns the statement's error.
func (e *QueuedError) Unwrap() error { return e.Err }

// A Class tells apart how an attempt ended. Retry policies are chosen by it.
type Class string

// The classes. An error may name a class of its own by a method
// ErrorClass() string.
const (
	ClassDone        Class = "done"
	ClassFailure     Class = "failure"        // the handler returned an error
	ClassReject      Class = "reject"         // the handler refused the message for good
	ClassPanic       Class = "panic"          // the handler panicked
	ClassTimeout     Class = "timeout"        // the handler ran into its deadline
	ClassCrash       Class = "crash"          // the process died while it held the message
	ClassInterrupted Class = "interrupted"    // the worker was told to stop
	ClassSnooze      Class = "snooze"         // the handler asked for later
	ClassTransient   Class = "infrastructure" // the store or the network, not the message
	ClassInvalid     Class = "invalid"        // Validate refused it
	ClassUndecodable Class = "undecodable"    // its body does not decode
	ClassUnknownKind Class = "unknown_kind"   // no handler here knows its kind
	ClassLeaseLost   Class = "lease_lost"     // somebody else holds it now
)

// Classes lists the classes that are no error's own.
func Classes() []Class {
	return []Class{
		ClassDone, ClassFailure, ClassReject, ClassPanic, ClassTimeout, ClassCrash, ClassInterrupted, ClassSnooze,
		ClassTransient, ClassInvalid, ClassUndecodable, ClassUnknownKind, ClassLeaseLost,
	}
}

// Counts reports whether an attempt that ended so is counted against the
// message.
func (c Class) Counts() bool {
	switch c {
	case ClassDone, ClassInterrupted, ClassSnooze, ClassTransient, ClassUnknownKind, ClassLeaseLost, ClassCrash:
		return false
	default:
		return true
	}
}
