package store

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/driver"
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
	OperationFreezing  OperationState = "freezing"  // its letters are being written down
	OperationRunning   OperationState = "running"   // its letters get their turns
	OperationPaused    OperationState = "paused"    // by somebody, until somebody resumes it
	OperationStopped   OperationState = "stopped"   // by itself, since too many failed again
	OperationCancelled OperationState = "cancelled" // what had no turn is a dead letter still
	OperationDone      OperationState = "done"      // of each it is known what became of it
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
	fence  int64
	lease  int64 // ends at
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

// Bounds of what an operation does at a time.
const (
	operationBatch = 200     // letters in one transaction
	operationBytes = 4 << 20 // of their bodies in one transaction, but for the first
	operationLook  = 500     // letters in flight that are looked at in one transaction
	// operationFlying bounds the letters in flight: so many at most have gone back
	// before it is known that they fail again.
	operationFlying = 2000
	operationRecent = 20 // outcomes by which it stops itself
)

// canarySteps are how many letters the first stages of an operation try.
func canarySteps() []int { return []int{1, 10} }

// Left is the number of letters that have had no turn.
func (o *Operation) Left() int { return o.Total - o.Done - o.Failed - o.Flying - o.Gone - o.Refused }

// tally is what became of the letters.
func (o *Operation) tally() string {
	return fmt.Sprintf("done %d, failed %d, gone %d, refused %d", o.Done, o.Failed, o.Gone, o.Refused)
}

// Ends reports whether an operation is over: nothing more will become of it.
func (o *Operation) Ends() bool {
	return (o.State == OperationDone || o.State == OperationCancelled) && o.Flying == 0
}

// Active reports whether there is something to do: letters that wait for their turns,
// or some in flight, of which it is to be found out what became of them.
func (o *Operation) Active() bool {
	return o.State == OperationFreezing || o.State == OperationRunning || o.Flying > 0
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

// allowed is how many letters may have their turn now, by the store's clock.
func (o *Operation) allowed(now int64) int {
	if o.State != OperationRunning || o.ledger.Next > now {
		return 0
	}
	n := min(operationBatch, o.Left())
	if o.Action == ActionRetry {
		n = min(n, operationFlying-o.Flying)
	}
	if steps := canarySteps(); o.Canary && o.Canaries.Stage < len(steps) {
		n = min(n, steps[o.Canaries.Stage]-o.Canaries.Tried)
	}
	if o.Rate > 0 {
		const burst = 0.2 // seconds
		n = min(n, int(max(1, o.Rate*burst)))
	}
	return max(n, 0)
}

// pay lets the rate wait for letters that had their turn.
func (o *Operation) pay(now int64, n int) {
	if o.Rate > 0 && n > 0 {
		const second = 1000
		o.ledger.Next = max(o.ledger.Next, now) + int64(math.Ceil(float64(n)*second/o.Rate))
	}
}

// note adds the outcome of a letter that was in flight.
func (o *Operation) note(ok bool) {
	o.Flying--
	sign := "+"
	if ok {
		o.Done++
	} else {
		o.Failed++
		o.Canaries.Failed++
		sign = "-"
	}
	o.Recent += sign
	o.Recent = o.Recent[max(0, len(o.Recent)-operationRecent):]
}

// judge goes on to the next stage, or stops the operation, by the outcomes so far. It
// reports whether it was stopped.
func (o *Operation) judge() bool {
	if o.State != OperationRunning {
		return false
	}
	failed := strings.Count(o.Recent, "-")
	if len(o.Recent) == operationRecent && 2*failed > operationRecent {
		return o.stop(fmt.Sprintf("%d of the last %d failed again", failed, operationRecent))
	}
	steps, c := canarySteps(), &o.Canaries
	over := o.Canary && c.Stage < len(steps) && o.Flying == 0 && (c.Tried >= steps[c.Stage] || o.Left() == 0)
	switch {
	case !over || c.Tried == 0:
		return false
	case 2*c.Failed > c.Tried:
		return o.stop(fmt.Sprintf("%d of %d canaries failed again", c.Failed, c.Tried))
	}
	o.Canaries = Canaries{Stage: c.Stage + 1}
	return false
}

func (o *Operation) stop(why string) bool {
	o.State, o.Why = OperationStopped, why
	return true
}

// finish ends an operation of which nothing is left.
func (o *Operation) finish(now int64) bool {
	if o.State != OperationRunning || o.Left() > 0 || o.Flying > 0 {
		return false
	}
	o.State, o.Ended = OperationDone, fromMillis(now)
	return true
}

// A turnover is a change of an operation's state by somebody.
type turnover struct {
	verb Verb
	from []OperationState
	to   OperationState
}

// apply makes the change. It reports whether it is one that the operation's state
// allows.
func (c turnover) apply(o *Operation, now int64) bool {
	if o.State == c.to || !slices.Contains(c.from, o.State) {
		return false
	}
	stopped := o.State == OperationStopped
	o.State = c.to
	switch c.to {
	case OperationCancelled:
		o.Ended = fromMillis(now)
	case OperationRunning:
		o.Why = ""
		if o.ledger.Past < o.ledger.Until {
			o.State = OperationFreezing
		}
		if stopped { // what was mended is tried with care again
			o.Canaries, o.Recent = Canaries{}, ""
		}
	}
	return true
}
