// Package oracle judges what became of messages. It knows nothing of stores: it
// compares what producers wrote down outside the store with what is in it at the
// end of a run, and says which promises of Posthorn were broken. It is pure, so
// that each of its rules is proven by a lie that is planted in a test.
package oracle

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// A Promise is one of the promises S1 to S12.
type Promise string

// The promises that the oracle can find broken.
const (
	ExactlyOnce  Promise = "S1"   // one effect, or a dead letter and none
	Counted      Promise = "S7"   // attempts and crashes are durable, and charged to nobody else
	Conserved    Promise = "S11"  // what was accepted is in exactly one place
	Resumed      Promise = "S12"  // work goes on by itself
	ByteEqual    Promise = "M"    // dead letters are what was sent
	CleanEnd     Promise = "P-6"  // whoever is told to stop stops, and costs nothing
	NothingLeaks Promise = "L"    // no process and no connection is left
	Paced        Promise = "M-15" // a message that fails is tried after its pauses, and not before
)

// An Outcome is what a producer knows of a message that it wanted to send.
type Outcome string

// The outcomes. A producer that died before it wrote one down does not know it.
const (
	OK      Outcome = "ok"
	Failed  Outcome = "fail"
	Unknown Outcome = "unknown"
)

// An Intent is a line of the ledger: a message that somebody was about to send.
type Intent struct {
	ID, Kind string
	Fate     Fate
	Outcome  Outcome
	Digest   string // of the body
}

// A Letter is a dead letter as the store has it.
type Letter struct {
	ID, Kind, Reason string
	Digest           string // of the body, as it was sent: before it was edited
	Crashes          int
	Seq              int64 // its number
	Discarded        bool  // somebody has removed it
}

// A Charge is a handler that started with attempts spent.
type Charge struct {
	ID      string
	Attempt int
}

// A Rush is a handler that started sooner after its message was sent than the pauses
// between the attempts that it has spent allow.
type Rush struct {
	ID           string
	Attempt      int
	After, Least time.Duration
}

// Counts are what the store itself says that it has.
type Counts struct{ Live, Dead int64 }

// Evidence is all that the oracle judges.
type Evidence struct {
	Intents []Intent
	Effects map[string]int // committed effects by the message's id
	Letters []Letter
	Live    map[string]int // rows of live messages by id
	Counts  Counts

	Charges    []Charge
	Rushes     []Rush
	Deaths     map[string]int // processes that a poisonous message ended, by its id
	MinCrashes int            // before which no message is buried for them
	MaxCrashes int            // after which one is, in each of its lives

	Orders     []Order
	Operations []Operation
	Lines      map[string]int // of a letter's class in the history of its message, by the message's id
	MaxLines   int            // that are kept of a history
}

// A Finding is one broken rule.
type Finding struct {
	Promise Promise
	ID      string // of the message; may be empty
	Text    string
}

// String gives the finding in one line.
func (f Finding) String() string {
	if f.ID == "" {
		return fmt.Sprintf("%s: %s", f.Promise, f.Text)
	}
	return fmt.Sprintf("%s: message %s %s", f.Promise, f.ID, f.Text)
}

// ChildOf is the id of the message that a message of fate Spawn sends.
func ChildOf(id string) string { return id + "/child" }

// Check applies every rule. It returns what is broken, in an order that does not
// change.
func Check(e Evidence) []Finding {
	c := newCheck(e)
	for _, in := range e.Intents {
		c.judge(in)
		if in.Fate == Spawn {
			c.judgeChild(in)
		}
	}
	c.strangers()
	c.count()
	c.charges()
	c.operations()
	slices.SortFunc(c.found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Promise, b.Promise), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Text, b.Text))
	})
	return c.found
}

// A check is one judgement under way.
type check struct {
	Evidence
	dooms   map[Fate]doom
	letters map[string][]Letter
	fates   map[string]Fate // of all that may exist
	lives   map[string]life
	tracks  map[int64]*track // by the letter's number
	found   []Finding
}

func newCheck(e Evidence) *check {
	c := &check{Evidence: e, dooms: dooms(), letters: map[string][]Letter{}, fates: map[string]Fate{}}
	for _, l := range e.Letters {
		c.letters[l.ID] = append(c.letters[l.ID], l)
	}
	for _, in := range e.Intents {
		c.fates[in.ID] = in.Fate
		if in.Fate == Spawn {
			c.fates[ChildOf(in.ID)] = Done
		}
	}
	c.trace()
	return c
}

func (c *check) find(p Promise, id, format string, args ...any) {
	c.found = append(c.found, Finding{p, id, fmt.Sprintf(format, args...)})
}

// judge looks at one message that was meant to be sent.
func (c *check) judge(in Intent) {
	d, known := c.dooms[in.Fate]
	if !known {
		c.find(ExactlyOnce, in.ID, "has an unknown fate %q", in.Fate)
		return
	}
	effects, letters, rows := c.Effects[in.ID], len(c.letters[in.ID]), c.Live[in.ID]
	there := effects + letters + rows
	switch {
	case in.Outcome == Failed && there > 0:
		c.find(ExactlyOnce, in.ID, "was refused, and is there: %s", c.whereabouts(in.ID))
	case in.Outcome == OK && d.place == none:
		c.find(ByteEqual, in.ID, "(%s) was accepted", in.Fate)
	case in.Outcome == OK && there == 0:
		c.find(ExactlyOnce, in.ID, "(%s) was accepted, and is lost", in.Fate)
	}
	c.once(in.ID)
	if there > 0 && d.place != none {
		c.compare(in, d.after(c.lives[in.ID]))
	}
}

// once finds a message that is in more than one place, or twice in one.
func (c *check) once(id string) {
	effects, letters, rows := c.Effects[id], len(c.letters[id]), c.Live[id]
	if effects > 1 {
		c.find(ExactlyOnce, id, "has %d effects", effects)
	}
	if effects > 0 && letters > 0 {
		c.find(ExactlyOnce, id, "has an effect and a dead letter")
	}
	if letters > 1 || rows > 1 {
		c.find(Conserved, id, "is there more than once: %s", c.whereabouts(id))
	}
	if rows > 0 && effects+letters > 0 {
		c.find(Conserved, id, "is live although it has ended: %s", c.whereabouts(id))
	}
}

// compare looks whether a message is where its fate says.
func (c *check) compare(in Intent, d doom) {
	effects, letters, rows := c.Effects[in.ID], c.letters[in.ID], c.Live[in.ID]
	switch {
	case d.place != effect && effects > 0:
		c.find(ExactlyOnce, in.ID, "(%s) has an effect that its handler took back", in.Fate)
	case d.place != letter && len(letters) > 0:
		c.find(Counted, in.ID, "(%s) is innocent, and was buried: %s", in.Fate, letters[0].Reason)
	case d.place != live && rows > 0 && effects+len(letters) == 0:
		c.find(Resumed, in.ID, "(%s) is left, and nobody handles it", in.Fate)
	}
	for _, l := range letters {
		c.readLetter(in, d, l)
	}
}

// readLetter compares a dead letter with what was sent.
func (c *check) readLetter(in Intent, d doom, l Letter) {
	if l.Digest != in.Digest || l.Kind != in.Kind {
		c.find(ByteEqual, in.ID, "is not in its dead letter as it was sent")
	}
	if d.place != letter {
		return
	}
	if l.Reason != d.reason {
		c.find(Counted, in.ID, "(%s) was buried as %s, not as %s", in.Fate, l.Reason, d.reason)
	}
	if in.Fate == Poison && l.Crashes < c.MinCrashes {
		c.find(Counted, in.ID, "was buried after %d crashes, not %d", l.Crashes, c.MinCrashes)
	}
}

// judgeChild looks at what a message sent in its transaction: it exists if and
// only if that was committed.
func (c *check) judgeChild(in Intent) {
	id := ChildOf(in.ID)
	there := c.Effects[id] + len(c.letters[id]) + c.Live[id]
	switch parent := c.Effects[in.ID]; {
	case parent > 0 && there == 0:
		c.find(ExactlyOnce, id, "is lost: it was sent in a transaction that was committed")
	case parent == 0 && there > 0:
		c.find(ExactlyOnce, id, "is there: it was sent in a transaction that was rolled back")
	}
	c.once(id)
	if there > 0 {
		child := Intent{ID: id, Kind: in.Kind, Fate: Done}
		for _, l := range c.letters[id] { // what it was sent as is not in the ledger
			child.Kind, child.Digest = l.Kind, l.Digest
		}
		c.compare(child, c.dooms[Done])
	}
}

// strangers finds what nobody meant to send.
func (c *check) strangers() {
	for id := range c.Effects {
		c.meant(id, "an effect")
	}
	for id := range c.letters {
		c.meant(id, "a dead letter")
	}
	for id := range c.Live {
		c.meant(id, "a row")
	}
}

func (c *check) meant(id, what string) {
	if _, ok := c.fates[id]; !ok {
		c.find(ExactlyOnce, id, "has %s, and nobody meant to send it", what)
	}
}

// count compares the store's own counts with its rows, and what was accepted
// with the places where it can be.
func (c *check) count() {
	rows := int64(0)
	for _, n := range c.Live {
		rows += int64(n)
	}
	if rows != c.Counts.Live {
		c.find(Conserved, "", "the store counts %d live messages, and has %d", c.Counts.Live, rows)
	}
	dead := int64(0)
	for _, l := range c.Letters {
		if !l.Discarded {
			dead++
		}
	}
	if dead != c.Counts.Dead {
		c.find(Conserved, "", "the store counts %d dead letters, and has %d", c.Counts.Dead, dead)
	}
	done := int64(0)
	for _, n := range c.Effects {
		done += int64(n)
	}
	if accepted, there := c.accepted(), done+rows+int64(len(c.Letters)); accepted != there {
		c.find(Conserved, "", "%d messages were accepted, and there are %d: %d done, %d dead, %d live",
			accepted, there, done, len(c.Letters), rows)
	}
}

// accepted counts the messages that were accepted: what producers were told, what
// came although nobody was told, and what was sent in transactions that committed.
func (c *check) accepted() (n int64) {
	for _, in := range c.Intents {
		there := c.Effects[in.ID]+len(c.letters[in.ID])+c.Live[in.ID] > 0
		if in.Outcome == OK || in.Outcome == Unknown && there {
			n++
		}
		if in.Fate == Spawn && c.Effects[in.ID] > 0 {
			n++
		}
	}
	return n
}

// charges finds attempts and deaths that were not counted right.
func (c *check) charges() {
	for _, ch := range c.Charges {
		fate, ok := c.fates[ch.ID]
		if ok && ch.Attempt > c.dooms[fate].charged {
			c.find(Counted, ch.ID, "(%s) starts with %d attempts spent that are not its own", fate, ch.Attempt)
		}
	}
	for _, r := range c.Rushes {
		c.find(Paced, r.ID, "starts with %d attempts spent %s after it was sent: its pauses are %s at least",
			r.Attempt, r.After.Round(time.Millisecond), r.Least.Round(time.Millisecond))
	}
	for id, n := range c.Deaths {
		if most := c.MaxCrashes * (1 + c.lives[id].sent); n > most {
			c.find(Counted, id, "ended %d processes, and is to be buried after %d", n, most)
		}
	}
}

// whereabouts says how often a message is where.
func (c *check) whereabouts(id string) string {
	return fmt.Sprintf("%d effects, %d dead letters, %d live rows", c.Effects[id], len(c.letters[id]), c.Live[id])
}
