package oracle

import (
	"maps"
	"slices"
)

// An Order is a line of the ledger: an operation that somebody was about to make.
type Order struct {
	Key     string // by which it is known in the store
	Action  string
	Outcome Outcome
}

// The actions of operations.
const (
	Retry   = "retry"   // put a letter back on its queue
	Remove  = "remove"  // discard it
	Restore = "restore" // take that back
	Edit    = "edit"    // replace its body
)

// An Operation is bulk work on dead letters as the store has it at the end: what it says of
// itself, and of each of its letters.
type Operation struct {
	ID, Key, Action, State string
	Over                   bool // nothing more will become of it

	Total, Done, Failed, Flying, Gone, Refused, Left int // its own counts

	Targets []Target
}

// A Target is one letter of an operation.
type Target struct {
	Letter  int64  // its number
	Message string // its id
	State   TargetState
}

// A TargetState is where a letter of an operation stands, by the store's own numbers.
type TargetState int

// The states of targets.
const (
	Waiting    TargetState = iota // had no turn
	Flying                        // was put back, and has no end yet
	Handled                       // the message was handled, or the letter changed
	DiedAgain                     // was put back, and died again
	Gone                          // was no such letter any more
	NotChanged                    // could not be changed
)

// A life is what operations did to one message.
type life struct {
	sent       int   // back, from all its letters
	sentEdited int   // of them, after it was edited
	edited     int64 // the letter that was edited; 0: none was
	diedAgain  int
	last       int64       // the last letter that was sent back
	end        TargetState // of that
}

// A track is what operations did to one letter.
type track struct {
	message         string
	sent            int
	gone            int
	hidden, shown   int // discarded, and restored
	edited, refused int // refused to do anything but to edit it
}

// trace follows the letters of all operations, and so the lives of their messages.
func (c *check) trace() {
	c.lives, c.tracks = map[string]life{}, map[int64]*track{}
	for _, o := range c.Operations {
		for _, t := range o.Targets {
			if c.tracks[t.Letter] == nil {
				c.tracks[t.Letter] = &track{message: t.Message}
			}
			c.tracks[t.Letter].follow(o.Action, t.State)
		}
	}
	for _, seq := range slices.Sorted(maps.Keys(c.tracks)) {
		if t := c.tracks[seq]; t.edited > 0 {
			l := c.lives[t.message]
			l.edited = seq
			c.lives[t.message] = l
		}
	}
	for _, o := range c.Operations {
		for _, t := range o.Targets {
			if o.Action == Retry {
				c.lives[t.Message] = c.lives[t.Message].after(t)
			}
		}
	}
}

// follow adds what an operation did to a letter.
func (t *track) follow(action string, s TargetState) {
	switch {
	case s == Gone:
		t.gone++
	case s == NotChanged && action != Edit:
		t.refused++
	case action == Retry && sent(s):
		t.sent++
	case s != Handled:
	case action == Remove:
		t.hidden++
	case action == Restore:
		t.shown++
	case action == Edit:
		t.edited++
	}
}

// sent reports whether a letter was put back.
func sent(s TargetState) bool { return s == Flying || s == Handled || s == DiedAgain }

// after is the life of a message of which a letter was to be retried.
func (l life) after(t Target) life {
	if !sent(t.State) {
		return l
	}
	l.sent++
	if l.edited > 0 && t.Letter >= l.edited {
		l.sentEdited++
	}
	if t.State == DiedAgain {
		l.diedAgain++
	}
	if t.Letter > l.last {
		l.last, l.end = t.Letter, t.State
	}
	return l
}

// operations judges the operations: that those that were made are there and come to an end,
// that their counts are those of their letters, and that each letter has one end.
func (c *check) operations() {
	c.ordered()
	for _, o := range c.Operations {
		c.counts(o)
		for _, t := range o.Targets {
			c.target(o, t)
		}
	}
	here, hidden := map[int64]bool{}, map[int64]bool{}
	for _, l := range c.Letters {
		here[l.Seq], hidden[l.Seq] = true, l.Discarded
	}
	for _, seq := range slices.Sorted(maps.Keys(c.tracks)) {
		c.judgeTrack(seq, here[seq], hidden[seq])
	}
	for _, l := range c.Letters {
		if l.Discarded && (c.tracks[l.Seq] == nil || c.tracks[l.Seq].hidden == 0) {
			c.find(Conserved, l.ID, "is discarded, and no operation did it")
		}
	}
	for _, in := range c.Intents {
		if d, known := c.dooms[in.Fate]; known {
			c.judgeLife(in, d, c.lives[in.ID])
		}
	}
}

// ordered compares what operators ordered with what is there.
func (c *check) ordered() {
	made := map[string]int{}
	for _, o := range c.Operations {
		made[o.Key]++
	}
	for _, o := range c.Orders {
		n := made[o.Key]
		delete(made, o.Key)
		switch {
		case o.Outcome == OK && n == 0:
			c.find(Conserved, "", "operation %s was made, and is lost", o.Key)
		case o.Outcome == Failed && n > 0:
			c.find(ExactlyOnce, "", "operation %s was refused, and is there", o.Key)
		case n > 1:
			c.find(ExactlyOnce, "", "operation %s is there %d times", o.Key, n)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(made)) {
		c.find(ExactlyOnce, "", "operation %s is there, and nobody meant to make it", key)
	}
}

// counts compares what an operation says of itself with its letters.
func (c *check) counts(o Operation) {
	if !o.Over {
		c.find(Resumed, "", "operation %s (%s) does not end: it is %s, with %d letters in flight", o.ID, o.Action, o.State,
			o.Flying)
	}
	var n [NotChanged + 1]int
	for _, t := range o.Targets {
		n[t.State]++
	}
	for _, s := range []struct {
		what      string
		says, has int
	}{
		{"letters", o.Total, len(o.Targets)}, {"done", o.Done, n[Handled]}, {"that failed again", o.Failed, n[DiedAgain]},
		{"in flight", o.Flying, n[Flying]}, {"gone", o.Gone, n[Gone]}, {"refused", o.Refused, n[NotChanged]},
		{"left", o.Left, n[Waiting]},
	} {
		if s.says != s.has {
			c.find(Conserved, "", "operation %s (%s) counts %d %s, and has %d", o.ID, o.Action, s.says, s.what, s.has)
		}
	}
	if o.State == "done" && o.Left != 0 {
		c.find(Conserved, "", "operation %s (%s) is done, and %d letters are left", o.ID, o.Action, o.Left)
	}
}

// target compares what an operation says of a letter with what became of its message.
func (c *check) target(o Operation, t Target) {
	fate, meant := c.fates[t.Message]
	d := c.dooms[fate]
	switch {
	case !meant || d.place != letter:
		c.find(Conserved, t.Message, "(%s) has a letter in operation %s, and must not die", fate, o.ID)
	case o.Action == Retry && t.State == Handled && c.Effects[t.Message] == 0:
		c.find(Conserved, t.Message, "(%s) is done, says operation %s, and it has no effect", fate, o.ID)
	case o.Action == Edit && t.State == Handled && !d.typo:
		c.find(Conserved, t.Message, "(%s) was edited by a patch that does not fit it", fate)
	case o.Action == Edit && t.State == NotChanged && d.typo && c.tracks[t.Letter].edited == 0:
		c.find(Conserved, t.Message, "(%s) was not edited by a patch that fits it", fate)
	}
}

// judgeTrack judges one letter: it was put back once, or is there once, dead or discarded.
func (c *check) judgeTrack(seq int64, here, hidden bool) {
	t := c.tracks[seq]
	switch {
	case t.sent > 1:
		c.find(ExactlyOnce, t.message, "was put back %d times from its letter %d", t.sent, seq)
	case t.sent == 1 && here:
		c.find(ExactlyOnce, t.message, "was put back, and its letter %d is still there", seq)
	case t.sent == 0 && !here:
		c.find(Conserved, t.message, "is lost: its letter %d was not put back, and is not there", seq)
	case t.gone > 0 && t.sent+t.hidden+t.shown == 0:
		c.find(Conserved, t.message, "is gone, says an operation, and nothing has become of its letter %d", seq)
	}
	if t.refused > 0 {
		c.find(Conserved, t.message, "could not be changed, says an operation, and nobody had its id")
	}
	if t.edited > 1 {
		c.find(ExactlyOnce, t.message, "was edited %d times by the same patch", t.edited)
	}
	if n := t.hidden - t.shown; n < 0 || n > 1 || here && hidden != (n == 1) || t.sent > 0 && n != 0 {
		c.find(Conserved, t.message, "has a letter %d that was discarded %d times and restored %d times", seq, t.hidden,
			t.shown)
	}
}

// judgeLife judges one message: it has as many deaths as it was put back, and one more if
// it is dead, and its last end is the one that the operation says.
func (c *check) judgeLife(in Intent, d doom, l life) {
	effects, letters := c.Effects[in.ID], len(c.letters[in.ID])
	if l.sent > 0 && l.end == DiedAgain && letters == 0 {
		c.find(Conserved, in.ID, "(%s) died again, says an operation, and is no dead letter", in.Fate)
	}
	if d.lives > 0 && effects > 0 && l.sent != d.lives {
		c.find(ExactlyOnce, in.ID, "(%s) is done, and was put back %d times, not %d", in.Fate, l.sent, d.lives)
	}
	if d.typo && effects > 0 && l.sentEdited != 1 {
		c.find(ExactlyOnce, in.ID, "(%s) is done, and was put back %d times after it was edited", in.Fate, l.sentEdited)
	}
	if most := d.lives - 1; d.lives > 0 && l.diedAgain > most {
		c.find(Counted, in.ID, "(%s) died again %d times, says an operation, not %d", in.Fate, l.diedAgain, most)
	}
	if n, want := c.Lines[in.ID], l.sent+1; d.told && letters == 1 && n != want && n < c.MaxLines {
		c.find(Counted, in.ID, "(%s) has %d deaths in its history, and was put back %d times", in.Fate, n, l.sent)
	}
}
