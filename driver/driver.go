// Package driver is the contract between Posthorn and the places where
// messages wait.
//
// A transport implements [Transport] and [Consumer]; whatever more it can do
// it says by a role (roles.go) or by a field of [Capabilities]. The package
// imports the standard library only, so that a transport can be written
// outside this module without pulling anything in.
package driver

import (
	"context"
	"time"
)

// An Envelope is what travels: one message in its encoded form.
type Envelope struct {
	ID       string            // unique among the live messages of a transport
	Kind     string            // the stable name of the message's type
	Queue    string            // the queue it waits in
	Header   map[string]string // small, printable metadata
	Body     []byte            // opaque bytes; never interpreted by a transport
	Priority int               // higher is delivered first; MinPriority … MaxPriority
	Attempt  int               // failed attempts so far that counted
	SentAt   time.Time         // when the transport accepted it, by the transport's clock

	// NotBefore is an absolute due time; zero means at once.
	NotBefore time.Time
	// Delay postpones the message from now on, by the transport's own clock, so
	// that a producer with a wrong clock does no harm. It wins over NotBefore.
	// It is zero on a received envelope.
	Delay time.Duration
}

// A Token is the fencing token of one claim. It is unique for each claim, not
// for each worker, so that a worker that lost a message and claimed it again
// cannot settle the first claim. Only the transport interprets it.
type Token string

// A Delivery is an envelope leased to one consumer.
type Delivery struct {
	Envelope
	Deliveries int   // how often it was claimed, this claim included
	Crashes    int   // how many earlier claims ended without a word: the process died
	Token      Token // checked by every settlement
}

// Capabilities says what an opened transport can do beyond the contract that
// every transport keeps. What is not declared is refused with ErrUnsupported
// at Send, or when a worker starts; it is never ignored.
type Capabilities struct {
	Delay       bool // NotBefore and Delay are honoured
	Priority    bool // Priority is honoured
	Bury        bool // Bury keeps a dead letter in the transport itself
	Durability  Durability
	MaxBody     int           // the largest body in bytes
	MaxHold     time.Duration // how long a delivery may be extended; 0 means without end
	UniqueIDs   bool          // an id that is still live is refused with ErrDuplicate
	AttemptsLog bool          // the attempts of a message are kept until it is done
	Lanes       int           // how many calls of Transact can usefully run at once; 0 means 1
	Suspects    bool          // it is a Reaper that works, and Subscription.Suspects is honoured
}

// A Durability says what an accepted message survives.
type Durability string

// The durability classes, from the weakest to the strongest.
const (
	Volatile    Durability = "volatile"     // lost with the process
	ProcessSafe Durability = "process-safe" // survives the process, not a power cut
	PowerSafe   Durability = "power-safe"   // survives a power cut
)

// A Transport is a place where envelopes wait. All methods may be called
// concurrently.
type Transport interface {
	// Capabilities answers for the opened transport. It does not block.
	Capabilities() Capabilities

	// Send accepts all the envelopes or none. When it returns nil they are as
	// durable as Capabilities says. Errors: ErrInvalid, ErrTooLarge,
	// ErrUnsupported, ErrDuplicate, ErrUnavailable, or ctx's. When it is also
	// ErrOutcomeUnknown, the envelopes may have been accepted: sending them
	// again with the same ids is safe while UniqueIDs holds.
	Send(ctx context.Context, envs ...Envelope) error

	// Consume opens a consumer. It lives until its Close, not until ctx ends.
	// Errors: ErrInvalid, ErrUnsupported, ErrUnavailable, ErrClosed.
	Consume(ctx context.Context, s Subscription) (Consumer, error)

	// Close ends the transport and waits for what it started. What was not
	// settled is delivered again after its lease.
	Close() error
}

// A Subscription says what a consumer wants.
type Subscription struct {
	// Queues are those to receive from, at least one. An earlier queue is served before
	// a later one, but for a small share of the messages, which the later ones get
	// together even while the earlier ones are never empty.
	Queues []string
	// Weights, one for each queue and at least 1, divide the messages among the queues
	// instead while all have some. Empty: by the order of Queues.
	Weights []int
	Lease   time.Duration // of each delivery, by the transport's clock; at least 1 ms
	Worker  string        // the id of the worker, for the history; may be empty
	// Suspects asks for nothing but the messages that are suspected of having killed
	// their worker (see Reaper), which no other consumer gets. Receive returns one
	// at a time; whoever asks runs it in a process of its own, and asks again when it
	// is settled. Any verdict makes it an ordinary message again, without crashes: its
	// handler has returned. A Release with no Delay and no Attempt says that it has
	// not run, so it stays a suspect. Undeclared in Capabilities, Suspects is
	// ErrUnsupported.
	Suspects bool
	// Standing says that whoever receives calls Receive again and again, and Withdraw (Withdrawer) before it
	// does not: in between, the transport may claim messages for it that are just sent, once Withdraw was called.
	Standing bool
}

// A Consumer receives from some queues, and settles what it received. Receive
// is for one goroutine; the other methods may be called concurrently with it
// and with each other.
type Consumer interface {
	// Receive blocks until there is at least one delivery, and returns at most
	// max of them, by priority, then due time. It returns ctx's error when ctx
	// ends, and then no delivery has been claimed.
	Receive(ctx context.Context, max int) ([]Delivery, error)

	// Settle ends claims, each with its own verdict. The settlements whose
	// claim is lost are named by a *LeaseLostError, and the crash that was counted when
	// its lease ran out is taken back (MaxTakenBack); all the others are done
	// then. Any other error means that none is done. It must not keep ss.
	Settle(ctx context.Context, ss ...Settlement) error

	// Extend renews the leases from now on. Lost ones are named by a
	// *LeaseLostError; all the others are renewed then.
	Extend(ctx context.Context, ds ...Delivery) error

	// Close gives the consumer up without settling: what it held is delivered
	// again after its lease. It waits for calls under way.
	Close() error
}

// A Withdrawer is a consumer that may be given messages between two calls of Receive; see
// Subscription.Standing.
type Withdrawer interface {
	// Withdraw has nothing given to the consumer until Receive is called again, and returns what it was given
	// and has not received, which is the caller's to settle, whatever the error. It is for the goroutine that
	// calls Receive, and costs nothing where nothing can have been given. After an error some messages may still
	// be given, and are delivered again after their lease.
	Withdraw(ctx context.Context) ([]Delivery, error)
}

// A Verdict says how a claim ends.
type Verdict uint8

// The verdicts.
const (
	Ack     Verdict = iota // done: the message is removed
	Retry                  // an attempt failed: it waits for its next one
	Release                // given back: no attempt was spent
	Bury                   // never again by itself: it becomes a dead letter
)

// String returns the verdict's name, for logs.
func (v Verdict) String() string {
	names := [...]string{"ack", "retry", "release", "bury"}
	if int(v) < len(names) {
		return names[v]
	}
	return "unknown"
}

// A Settlement ends one claim. A Release with a word about the message, which is an Attempt
// that is not of ClassTransient, or a Delay without an Attempt, ends its row of crashes, too: whoever held it
// lives and has looked at it. A fault of the infrastructure says nothing about it.
type Settlement struct {
	Delivery Delivery
	Verdict  Verdict
	Delay    time.Duration // for Retry and Release: how long it waits, by the transport's clock
	Queue    string        // for Retry and Release: another queue to go on in; empty keeps it
	Reason   string        // for Bury: why, one of the Reason constants
	Attempt  *Attempt      // what happened, for the history; nil adds nothing
}

// The reasons for which a message becomes a dead letter.
const (
	ReasonExhausted   = "retries_exhausted" // its last retry failed
	ReasonRejected    = "rejected"          // the handler refused it for good
	ReasonInvalid     = "invalid"           // Validate refused it
	ReasonUndecodable = "undecodable"       // its body does not decode
	ReasonUnknownKind = "unknown_kind"      // no worker has known its kind for too long
	ReasonCrashed     = "crashed"           // its worker died too often while holding it
)

// Reasons lists the reasons for which a message dies.
func Reasons() []string {
	return []string{
		ReasonExhausted, ReasonRejected, ReasonInvalid, ReasonUndecodable, ReasonUnknownKind, ReasonCrashed,
	}
}

// An Attempt is one line in a message's history.
type Attempt struct {
	Number   int           // the count of the attempt; the first is 1
	Worker   string        // the id of the worker
	Started  time.Time     // when the handler was entered
	Duration time.Duration // how long it ran
	Class    Class         // how it ended
	Error    string        // the error's text
	Stack    string        // the stack of a panic
	Build    string        // the version of the program that ran it; may be empty

	// Of an attempt that ends in a burial: Type is the most telling type of the error,
	// and Fingerprint is equal for failures of one fault. A transport that keeps dead
	// letters computes what is empty from the rest. They are not part of a history.
	Type, Fingerprint string
}

// MaxTakenBack is how many crashes of a message are taken back at most because whoever
// held it came back: its process was frozen or starved, and did not die of it. One that freezes
// its process each time must come to an end, too.
const MaxTakenBack = 10

// Bounds of an Attempt's texts in bytes: a history is evidence, not a log.
const (
	MaxAttemptError = 4 << 10
	MaxAttemptStack = 16 << 10
	MaxAttempts     = 50 // the newest ones are kept
)
