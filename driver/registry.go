package driver

import (
	"context"
	"time"
)

// A WorkerRecord is a worker as the registry knows it. Its id is never used again:
// it is new for each start.
type WorkerRecord struct {
	ID, Host, Program, Version, State string
	PID                               int
	Queues                            []string
	Kinds                             []string
	Started, Seen                     time.Time
	Handled, Failed                   int64
	RSS                               int64 // bytes
	InFlight, Concurrency             int
	Limits                            WorkerLimits
	Holds                             []Hold // what it has in hand, those for the longest time first; at most MaxHolds
	Told                              Order  // what an operator last asked of it; Heartbeat does not write it
}

// MaxHolds bounds WorkerRecord.Holds: they are there to be looked at.
const MaxHolds = 20

// WorkerLimits are the limits at which a worker ends; a zero is none.
type WorkerLimits struct {
	Messages int           `json:"messages,omitempty"`
	Failures int           `json:"failures,omitempty"`
	Time     time.Duration `json:"time,omitempty"`
	Memory   int64         `json:"memory,omitempty"` // bytes
}

// A Hold is a message that a worker has in hand.
type Hold struct {
	ID    string    `json:"id"`
	Kind  string    `json:"kind"`
	Since time.Time `json:"since"` // when it was claimed, by the worker's clock
}

// An Order is what an operator asks of one worker.
type Order string

// The orders.
const (
	OrderNone Order = ""
	OrderStop Order = "stop" // take no more, finish what is in hand, end
)

// Orders are the orders that stand for a worker.
type Orders struct{ Stop bool }

// Registry is the role of a transport that keeps a row for each live worker,
// and passes orders on to it.
type Registry interface {
	// Heartbeat writes the worker's row, and returns the orders that stand in it.
	// They were given to this very row: a worker that starts later never sees them.
	Heartbeat(ctx context.Context, w WorkerRecord) (Orders, error)
	// Deregister removes the row.
	Deregister(ctx context.Context, id string) error
}

// A Death is what is known of a worker whose process has ended without giving back
// what it held.
type Death struct {
	Worker string // its id
	// Begun are the claims whose handlers had been entered and had not returned. Nil
	// means that nobody knows: a crash is noted for all that it held. Empty means none.
	Begun    []Token
	Cause    string // how it ended, in a few words
	Evidence string // what may help to find out why: last lines, figures; bounded by MaxAttemptStack
	Alone    bool   // it was there to run suspects, one at a time
}

// A Toll says what became of the messages that a dead worker held.
type Toll struct {
	Released  int // ready again
	Suspected int // kept apart until somebody runs them alone
	Buried    int // dead letters now
}

// SuspectDeaths is how many workers a message may kill: with the last one, which
// it killed alone, it is buried.
const SuspectDeaths = 4

// Reaper is the role of a transport that can give back at once what a dead worker
// held, and that keeps apart the messages that may have killed it.
type Reaper interface {
	// ReleaseDead gives back, in one transaction, what a worker holds that is known to
	// be dead, and removes its row. Never call it for one that may still run: its
	// claims are lost from then on.
	//
	// What had not begun is as it was before it was claimed: nothing is charged to it.
	// What had begun becomes a suspect, with a crash more and a line in its history;
	// where it was the only one that had begun, and SuspectDeaths is reached, it is
	// buried instead. Only claims of this worker that stand are touched: a second
	// call finds none.
	ReleaseDead(ctx context.Context, d Death) (Toll, error)
}
