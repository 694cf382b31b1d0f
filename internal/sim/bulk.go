package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/mutant"
	"github.com/posthorn/posthorn/internal/operation"
	"github.com/posthorn/posthorn/internal/shelf"
)

// What an operation does to its letters.
const (
	retry   = "retry"
	remove  = "remove"
	restore = "restore"
)

// A bulk is an operation as the store has it: its row, and its letters. Who may change
// either does so in one transaction.
type bulk struct {
	id, action, queue string
	course            operation.Course
	lease             operation.Lease
	targets           []target
	account
}

// A target is a letter of an operation.
type target struct {
	letter int64
	m      *message
	fate   operation.Fate
	since  int64 // the highest letter when it was sent
}

// The errors of a step.
var (
	errFenced = errors.New("the operation is advanced by somebody else")
	errUnfit  = errors.New("a letter cannot be changed")
)

// A desk is the letters of an operation in the transaction of a step.
type desk struct {
	bench *workbench
	b     *bulk
	ahead []int64 // of a planted fault: letters that were sent already
}

// A pass is what a step has answered.
type pass struct {
	err    error
	active bool
	wants  bool // letters wait for their turn
	sight  operation.Sight
	wait   time.Duration
}

// A gait is how a step is to be taken: with how many letters, or with none.
type gait struct {
	pace operation.Pace
	rest bool
}

// step is one step of an operation by who believes to hold it.
func (k *workbench) step(h *hold, g gait) pass {
	b, now := h.b, k.w.store.now()
	if !b.lease.Stands(h.fence) {
		return pass{err: errFenced}
	}
	before := k.picture(b)
	d := &desk{bench: k, b: b}
	if mutant.OperationInTwo && b.action == retry && k.sendAhead(d) {
		return pass{err: errFenced} // what comes after has no executor
	}
	course := b.course
	s := operation.Step{Course: &course, Letters: d, Bounds: k.bounds, Pace: g.pace, Rest: g.rest, Now: now}
	if err := s.Run(context.Background()); err != nil {
		b.targets = before.targets
		return pass{err: err}
	}
	if changed := course != b.course; changed || b.lease.Due(k.lease, now) {
		b.course = course
		b.lease.Renew(h.by.name, k.lease, now)
	}
	if s.Stopped || s.Finished {
		k.w.note("%s is %s: %s", b.id, b.course.State, b.course.Why)
	}
	k.judgeStep(h, before)
	if k.w.counts.InHand += s.InHand; g.rest {
		k.w.counts.Rests++
		k.judgeRest(b, before)
	}
	return pass{
		active: b.course.Active(), wait: s.Wait,
		wants: b.course.Wants(),
		sight: operation.Sight{
			Moved: s.Moved, Found: s.Found, Flying: b.course.Flying, InHand: s.InHand, More: s.More,
			Writes: b.course.State == operation.Freezing,
		},
	}
}

// Freeze writes down the next letters that are meant.
func (d *desk) Freeze(_ context.Context, most int) (n int, past int64, err error) {
	c, shelf := &d.b.course, d.bench.w.store.shelf
	for seq := c.Past + 1; seq <= c.Until; seq++ {
		id, queue, ok := shelf.Letter(seq)
		if !ok || d.b.queue != "" && d.b.queue != queue || !d.fits(seq) {
			continue
		}
		d.b.targets = append(d.b.targets, target{letter: seq, m: d.bench.w.messages[id]})
		if n++; n == most {
			return n, seq, nil
		}
	}
	return n, c.Until, nil
}

// fits reports whether a letter is discarded, or not, as the operation wants it.
func (d *desk) fits(seq int64) bool { return d.bench.discarded[seq] == (d.b.action == restore) }

// Flying finds the next letters in flight after one.
func (d *desk) Flying(_ context.Context, after int64, most int) (out []operation.Flyer, err error) {
	shelf, held := d.bench.w.store.shelf, d.bench.held()
	for _, t := range d.b.targets {
		if t.fate != operation.FateFlying || t.letter <= after || len(out) == most {
			continue
		}
		f := operation.Flyer{Letter: t.letter, Live: shelf.IsLive(t.m.id), InHand: held[t.m.id]}
		for seq := t.since + 1; seq <= shelf.LastLetter(); seq++ {
			id, _, ok := shelf.Letter(seq)
			f.Dead = f.Dead || ok && id == t.m.id
		}
		out = append(out, f)
	}
	return out, nil
}

// held are the ids of the messages that workers hold.
func (k *workbench) held() map[string]bool {
	out := map[string]bool{}
	for _, row := range k.w.store.shelf.Rows() {
		if row.Place == shelf.Leased {
			out[row.ID] = true
		}
	}
	return out
}

// Next finds the first letters that have had no turn.
func (d *desk) Next(_ context.Context, most int) (out []int64, err error) {
	if mutant.OperationInTwo && d.b.action == retry {
		return d.ahead, nil
	}
	for _, t := range d.b.targets {
		if t.fate == operation.FateWaiting && len(out) < most {
			out = append(out, t.letter)
		}
	}
	return out, nil
}

// Lock reads letters.
func (d *desk) Lock(_ context.Context, letters []int64) (map[int64]operation.Letter, error) {
	out := make(map[int64]operation.Letter, len(letters))
	for _, seq := range letters {
		if id, _, ok := d.bench.w.store.shelf.Letter(seq); ok {
			out[seq] = operation.Letter{Seq: seq, ID: id, Fits: d.fits(seq), Size: 1}
		}
	}
	return out, nil
}

// Change does to letters what the operation is for.
func (d *desk) Change(_ context.Context, ls []operation.Letter, found operation.Fates) error {
	k := d.bench
	if slices.ContainsFunc(ls, func(l operation.Letter) bool { return k.w.messages[l.ID].unfit }) {
		return errUnfit
	}
	for _, l := range ls {
		found.Add(d.changeOne(l), l.Seq)
	}
	return nil
}

func (d *desk) changeOne(l operation.Letter) operation.Fate {
	k := d.bench
	switch {
	case d.b.action == remove:
		k.discard(l.Seq, true)
		return operation.FateDone
	case slices.Contains(d.ahead, l.Seq): // of a planted fault: all that is left to do
		k.w.store.shelf.TakeLetter(l.Seq)
		k.w.accepted--
		return operation.FateFlying
	case k.w.store.shelf.IsLive(l.ID), d.b.action == restore && k.rivals(l):
		return operation.FateRefused
	case d.b.action == restore:
		k.discard(l.Seq, false)
		return operation.FateDone
	}
	k.putBack(l.Seq, d.b.id)
	return operation.FateFlying
}

// rivals reports whether another letter has the id that is not discarded.
func (k *workbench) rivals(l operation.Letter) bool {
	shelf := k.w.store.shelf
	for seq := int64(1); seq <= shelf.LastLetter(); seq++ {
		if id, _, ok := shelf.Letter(seq); ok && id == l.ID && !k.discarded[seq] {
			return true
		}
	}
	return false
}

// Mark writes down what has become of letters.
func (d *desk) Mark(_ context.Context, found operation.Fates) error {
	for fate, letters := range found {
		for _, seq := range letters {
			i := d.b.find(seq)
			if i < 0 {
				return fmt.Errorf("mark letter %d of %s: there is none", seq, d.b.id)
			}
			t := &d.b.targets[i]
			if t.fate, t.since = fate, 0; fate == operation.FateFlying {
				t.since = d.bench.w.store.shelf.LastLetter()
			}
		}
	}
	return nil
}

// find is the place of a letter among those of an operation; -1 if it is none of them.
func (b *bulk) find(letter int64) int {
	return slices.IndexFunc(b.targets, func(t target) bool { return t.letter == letter })
}

// sendAhead is a planted fault: the next letters are sent in a transaction of their own. It
// reports whether that was the last that its executor did.
func (k *workbench) sendAhead(d *desk) (lost bool) {
	s, n := k.w.store, d.b.course.Allowed(k.bounds, k.w.store.now())
	for _, t := range d.b.targets {
		if len(d.ahead) >= n || t.fate != operation.FateWaiting {
			continue
		}
		d.ahead = append(d.ahead, t.letter)
		if id, _, ok := s.shelf.Letter(t.letter); ok && !k.discarded[t.letter] && !s.shelf.IsLive(id) {
			k.copyBack(t.letter, d.b.id)
		}
	}
	return len(d.ahead) > 0 && k.w.fault(0.2)
}
