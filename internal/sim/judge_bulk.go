package sim

import (
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/operation"
)

// An account is what the judge knows of an operation, from what has happened alone.
type account struct {
	owner *hold     // who has taken it last
	until time.Time // nobody else may take it before
	era   []int64   // letters sent since it began, or began again with care
	ends  string    // of letters since then, + or -
	due   time.Time // the rate allows no letter before
	since int       // the step in which it began
}

// turned notes that somebody has changed the state of an operation, which was another one.
func (b *bulk) turned(was operation.State) {
	if was == operation.Stopped {
		b.era, b.ends = nil, ""
	}
}

// A picture is an operation before a step.
type picture struct {
	course  operation.Course
	lease   operation.Lease
	targets []target
}

// picture copies the operation.
func (k *workbench) picture(b *bulk) picture {
	return picture{b.course, b.lease, slices.Clone(b.targets)}
}

// judgeTake looks at somebody who takes an operation.
func (k *workbench) judgeTake(h *hold) {
	b, now := h.b, k.w.store.now()
	if b.owner != nil && now.Before(b.until) {
		k.w.fail("operations", "%s is taken by %s, and is %s's", b.id, h.by.name, b.owner.by.name)
	}
	b.owner, b.until = h, now.Add(k.lease)
}

// A move is what a step has done to one letter.
type move struct {
	*target
	was operation.Fate
}

// judgeStep looks at what a step has done.
func (k *workbench) judgeStep(h *hold, before picture) {
	b, w := h.b, k.w
	moves := b.moves(before)
	changed := len(moves) > 0 || before.course != b.course || before.lease != b.lease
	if changed && b.owner != h {
		w.fail("operations", "%s carries %s on, and has lost it", h.by.name, b.id)
	}
	if changed {
		b.until = w.store.now().Add(k.lease)
	}
	var sent []move
	for _, m := range moves {
		k.judgeMove(b, m)
		if m.was == operation.FateWaiting {
			sent = append(sent, m)
		}
	}
	k.judgeEnds(b, before, moves, len(sent))
	k.judgeSent(b, before, sent)
	k.judgeSums(b)
	if b.course.State == operation.Done && before.course.State != operation.Done {
		k.judgeAll(b)
	}
}

// judgeRest looks at a step that was to rest: no letter has its turn in it, and none is written down.
func (k *workbench) judgeRest(b *bulk, before picture) {
	if len(b.targets) != len(before.targets) {
		k.w.fail("operations", "%s rests, and its letters are written down", b.id)
	}
	for _, m := range b.moves(before) {
		if m.was == operation.FateWaiting {
			k.w.fail("operations", "%s rests, and letter %d has its turn", b.id, m.letter)
		}
	}
}

// judgeAll looks whether an operation that is done meant all that it was to mean: a letter that
// is as it was when the operation began is none of it only where it wants few.
func (k *workbench) judgeAll(b *bulk) {
	for letter := int64(1); letter <= b.course.Until; letter++ {
		_, queue, there := k.w.store.shelf.Letter(letter)
		meant := there && (b.queue == "" || b.queue == queue) && k.discarded[letter] == (b.action == restore)
		full := b.course.Most > 0 && len(b.targets) == b.course.Most
		if meant && !full && k.marked[letter] < b.since && b.find(letter) < 0 {
			k.w.fail("operations", "%s is done, and has forgotten letter %d", b.id, letter)
		}
	}
}

// moves are the letters that a step has changed, in their order.
func (b *bulk) moves(before picture) (out []move) {
	for i := range b.targets {
		t, was := &b.targets[i], operation.FateWaiting
		if i < len(before.targets) {
			was = before.targets[i].fate
		}
		if t.fate != was {
			out = append(out, move{t, was})
		}
	}
	return out
}

// judgeMove looks at what has become of a letter: nothing ends twice, and what is said of it is true.
func (k *workbench) judgeMove(b *bulk, m move) {
	w, flown := k.w, m.was == operation.FateFlying
	switch {
	case m.was != operation.FateWaiting && !flown, m.fate == operation.FateWaiting,
		flown && m.fate != operation.FateDone && m.fate != operation.FateFailed,
		!flown && m.fate == operation.FateFailed:
		w.fail("operations", "letter %d of %s was %d, and is %d", m.letter, b.id, m.was, m.fate)
	case flown && m.fate == operation.FateDone && !m.m.done:
		w.fail("operations", "%s takes %s for done", b.id, m.m.id)
	case flown && m.fate == operation.FateFailed && !m.m.dead:
		w.fail("operations", "%s takes %s for dead", b.id, m.m.id)
	case m.fate == operation.FateFlying && k.sent[m.letter] == 0:
		w.fail("operations", "%s takes letter %d for sent", b.id, m.letter)
	}
	w.note("%s: letter %d of %s, %d", b.id, m.letter, m.m.id, m.fate)
}

// judgeEnds looks whether an operation goes on though too much has failed again.
func (k *workbench) judgeEnds(b *bulk, before picture, moves []move, sent int) {
	for _, m := range moves {
		switch {
		case m.was != operation.FateFlying:
		case m.fate == operation.FateFailed:
			b.ends += "-"
		default:
			b.ends += "+"
		}
	}
	last := b.ends[max(0, len(b.ends)-k.bounds.Recent):]
	failed := strings.Count(last, "-")
	bad := len(last) == k.bounds.Recent && 2*failed > len(last)
	if bad && (sent > 0 || b.course.State == operation.Running) {
		k.w.fail("operations", "%s goes on, and of its last %d letters %d have failed", b.id, len(last), failed)
	}
	if b.course.State == operation.Stopped && before.course.State != operation.Stopped {
		k.w.counts.Halts++
		if !strings.Contains(b.ends, "-") {
			k.w.fail("operations", "%s stops by itself, and none of its letters has failed", b.id)
		}
	}
}

// judgeSent looks at letters that had their turn: whether it was time for them.
func (k *workbench) judgeSent(b *bulk, before picture, sent []move) {
	if len(sent) == 0 {
		return
	}
	w, now, paid := k.w, k.w.store.now(), 0
	if state := before.course.State; state != operation.Running {
		w.fail("operations", "%s is %s, and goes on", b.id, state)
	}
	if now.Before(b.due) {
		w.fail("operations", "%s goes faster than %.1f letters a second", b.id, b.course.Rate)
	}
	flying := 0
	for _, t := range b.targets {
		if t.fate == operation.FateFlying {
			flying++
		}
	}
	if flying > k.bounds.Flying {
		w.fail("operations", "%s has %d letters in flight, and may have %d", b.id, flying, k.bounds.Flying)
	}
	for _, m := range sent {
		switch m.fate {
		case operation.FateFlying:
			b.era = append(b.era, m.letter)
			paid++
		case operation.FateDone:
			paid++
		}
	}
	if b.course.Rate > 0 && paid > 0 {
		b.due = now.Add(time.Duration(float64(paid) / b.course.Rate * float64(time.Second)))
	}
	if b.course.Canary {
		k.judgeStages(b)
	}
}

// judgeStages looks at the careful beginning: no letter goes before all of the stage before
// have their ends, of which at most half are failures.
func (k *workbench) judgeStages(b *bulk) {
	first := 0
	for _, size := range k.bounds.Stages {
		if len(b.era) <= first+size {
			return
		}
		failed := 0
		for _, letter := range b.era[first : first+size] {
			switch b.targets[b.find(letter)].fate {
			case operation.FateFlying:
				k.w.fail("operations", "%s goes on, and its canary %d has no end", b.id, letter)
			case operation.FateFailed:
				failed++
			}
		}
		if 2*failed > size {
			k.w.fail("operations", "%s goes on, and %d of its %d canaries have failed", b.id, failed, size)
		}
		first += size
	}
}

// judgeSums compares what an operation says of itself with its letters.
func (k *workbench) judgeSums(b *bulk) {
	var n [operation.FateRefused + 1]int
	for _, t := range b.targets {
		n[t.fate]++
	}
	c := b.course
	is := [...]int{c.Left(), c.Flying, c.Done, c.Failed, c.Gone, c.Refused}
	if is != n {
		k.w.fail("operations", "%s says %v, and its letters are %v", b.id, is, n)
	}
	if c.Most > 0 && len(b.targets) > c.Most {
		k.w.fail("operations", "%s has %d letters, and wants %d", b.id, len(b.targets), c.Most)
	}
	if c.State == operation.Done && (c.Left() > 0 || c.Flying > 0) {
		k.w.fail("operations", "%s is done, and its letters are %v", b.id, n)
	}
}

// judgeEnd looks at what has become of each letter: it was sent, once, or it is there, and
// of each operation: it has an end.
func (k *workbench) judgeEnd() {
	w := k.w
	for letter := int64(1); letter <= w.store.shelf.LastLetter(); letter++ {
		if _, _, there := w.store.shelf.Letter(letter); there == (k.sent[letter] > 0) {
			w.fail("operations", "letter %d was sent %d times, and is there: %t", letter, k.sent[letter], there)
		}
	}
	for _, b := range k.bulks {
		if !b.course.Over() {
			w.fail("S12", "%s is %s %s after the last fault, %d left, %d in flight", b.id, b.course.State, drained,
				b.course.Left(), b.course.Flying)
		}
	}
}
