package store

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/operation"
)

// An Action is what an operation does to each of its dead letters.
type Action string

// The actions.
const (
	ActionRetry   Action = "retry"   // put it back on its queue, and wait for what becomes of it
	ActionRemove  Action = "remove"  // discard it
	ActionRestore Action = "restore" // take back that it was discarded
	ActionEdit    Action = "edit"    // apply a patch to its body, and keep what it was
)

// An OperationState is where an operation stands.
type OperationState string

// The states of operations.
const (
	OperationFreezing  = OperationState(operation.Freezing)  // its letters are being written down
	OperationRunning   = OperationState(operation.Running)   // its letters get their turns
	OperationPaused    = OperationState(operation.Paused)    // by somebody, until somebody resumes it
	OperationStopped   = OperationState(operation.Stopped)   // by itself, since too many failed again
	OperationCancelled = OperationState(operation.Cancelled) // what had no turn is a dead letter still
	OperationDone      = OperationState(operation.Done)      // of each it is known what became of it
)

// An Operation is durable bulk work on dead letters. Its letters are fixed when it is
// made: those that died later are not meant. Whatever process advances it, each letter
// has its turn in one transaction with its own record, so none is moved twice.
type Operation struct {
	ID     string         `json:"id"`
	State  OperationState `json:"state"`
	Action Action         `json:"action"`
	Filter LetterFilter   `json:"filter"`
	Chosen string         `json:"chosen,omitempty"` // the filter in words, for people
	To     string         `json:"to,omitempty"`     // the queue that retries go to; empty: each to its own
	Rate   float64        `json:"rate,omitempty"`   // letters per second; 0: as fast as others allow
	Canary bool           `json:"canary"`           // one first, then ten, then the rest; retries only
	// Patch is what an edit does to each body: a JSON Patch (RFC 6902). Unchecked: also
	// where nobody can say whether the kind's handler takes what comes of it.
	Patch     json.RawMessage `json:"patch,omitempty"`
	Unchecked bool            `json:"unchecked,omitempty"`
	Actor     string          `json:"actor,omitempty"`
	Reason    string          `json:"reason,omitempty"` // why it was made, for people
	Why       string          `json:"why,omitempty"`    // why it is paused, stopped or cancelled

	Total   int `json:"total"`     // letters; it grows while they are written down
	Done    int `json:"done"`      // ended well: the message was handled, or the letter changed
	Failed  int `json:"failed"`    // died again
	Flying  int `json:"in_flight"` // put back, and neither done nor dead yet
	Gone    int `json:"gone"`      // no such dead letter any more when its turn came
	Refused int `json:"refused"`   // could not be changed: its id is taken, or the patch does not fit

	Created time.Time `json:"created_at"` // by the store's clock, as all of these
	Began   time.Time `json:"began_at,omitzero"`
	Ended   time.Time `json:"ended_at,omitzero"` // done or cancelled
	Now     time.Time `json:"now,omitzero"`      // when it was read
	Holder  string    `json:"holder,omitempty"`  // who advances it; empty: nobody now
	Yields  string    `json:"yields,omitempty"`  // it is slow, since messages of this queue wait

	Canaries Canaries `json:"canaries"`
	Recent   string   `json:"recent,omitempty"` // the latest outcomes, + or -, the oldest first

	seq    int64
	lease  operation.Lease
	ledger ledger
}

// Canaries are how far the careful beginning of an operation is.
type Canaries struct {
	Stage  int `json:"stage"`  // of the steps 1, 10 and the rest
	Tried  int `json:"tried"`  // letters in this stage
	Failed int `json:"failed"` // of them, so far
}

// A ledger is what an operation has to remember beside what it shows.
type ledger struct {
	Past   int64 `json:"past"`   // the last letter that was written down
	Until  int64 `json:"until"`  // the last one that is meant
	Most   int   `json:"most"`   // letters at most; 0: no bound
	Looked int64 `json:"looked"` // the last one in flight that was looked at
	Next   int64 `json:"next"`   // when the rate allows another one
}

// Left is the number of letters that have had no turn.
func (o *Operation) Left() int {
	c := o.course()
	return c.Left()
}

// tally is what became of the letters.
func (o *Operation) tally() string {
	return fmt.Sprintf("done %d, failed %d, gone %d, refused %d", o.Done, o.Failed, o.Gone, o.Refused)
}

// Ends reports whether an operation is over: nothing more will become of it.
func (o *Operation) Ends() bool {
	c := o.course()
	return c.Over()
}

// Active reports whether there is something to do: letters that wait for their turns,
// or some in flight, of which it is to be found out what became of them.
func (o *Operation) Active() bool {
	c := o.course()
	return c.Active()
}

// Wants reports whether letters wait to be written down, or for their turn.
func (o *Operation) Wants() bool {
	c := o.course()
	return c.Wants()
}

// check says what is wrong with an operation that is to be made.
func (o *Operation) check() error {
	switch {
	case bulkOf(o.Action) == nil:
		return fmt.Errorf("%w: action %q", driver.ErrInvalid, string(o.Action))
	case o.Filter.Check() != nil:
		return o.Filter.Check()
	case o.Rate < 0 || math.IsNaN(o.Rate) || math.IsInf(o.Rate, 0):
		return fmt.Errorf("%w: a rate of %v", driver.ErrInvalid, o.Rate)
	case (o.Action == ActionEdit) != json.Valid(o.Patch):
		return fmt.Errorf("%w: an edit has a patch, and nothing else has", driver.ErrInvalid)
	case o.To != "" && o.Action != ActionRetry:
		return fmt.Errorf("%w: only retries go to a queue", driver.ErrInvalid)
	case o.To != "":
		return cmp.Or(driver.CheckQueue(o.To), o.Filter.Check())
	}
	return o.Filter.Check()
}

// course is how far the operation is, for those who decide how it goes on.
func (o *Operation) course() operation.Course {
	return operation.Course{
		State: operation.State(o.State), Why: o.Why, Waits: o.Action == ActionRetry, Canary: o.Canary, Rate: o.Rate,
		Total: o.Total, Done: o.Done, Failed: o.Failed, Flying: o.Flying, Gone: o.Gone, Refused: o.Refused,
		Canaries: operation.Canaries(o.Canaries), Recent: o.Recent, Began: o.Began, Ended: o.Ended,
		Past: o.ledger.Past, Until: o.ledger.Until, Most: o.ledger.Most, Looked: o.ledger.Looked,
		Next: fromMillis(o.ledger.Next),
	}
}

// follow takes over what was decided.
func (o *Operation) follow(c operation.Course) {
	o.State, o.Why, o.Total, o.Done, o.Failed = OperationState(c.State), c.Why, c.Total, c.Done, c.Failed
	o.Flying, o.Gone, o.Refused = c.Flying, c.Gone, c.Refused
	o.Canaries, o.Recent, o.Began, o.Ended = Canaries(c.Canaries), c.Recent, c.Began, c.Ended
	o.ledger.Past, o.ledger.Looked, o.ledger.Next = c.Past, c.Looked, toMillis(c.Next)
}
