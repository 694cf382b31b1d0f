// Package ruling decides what becomes of messages when something has gone wrong: their
// worker died, or a commit's answer was lost. It is pure, and it is what every store
// asks, those on a database, the one in memory, and with it the simulator.
package ruling

import (
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/mutant"
)

// A Hold is what is to be known of a message that a dead worker holds.
type Hold struct {
	Token   driver.Token
	Crashes int // before this death
	Suspect bool
}

// A Sentence is what becomes of a message whose worker died.
type Sentence uint8

// The sentences.
const (
	Back    Sentence = iota // as it was before it was claimed
	Charged                 // ready again, or a suspect again, with a crash more
	Accused                 // a suspect from now on, with a crash more
	Buried                  // a dead letter, with a crash more
)

// OfDead decides about all that a dead worker holds, in the order of holds. Who had
// not begun pays nothing. One is buried only where no other can be the one that killed.
func OfDead(d driver.Death, holds []Hold) []Sentence {
	known := d.Begun != nil && !mutant.InnocentsCharged
	begun := make(map[driver.Token]bool, len(d.Begun))
	for _, token := range d.Begun {
		begun[token] = true
	}
	crashed := 0
	for _, h := range holds {
		if !known || begun[h.Token] {
			crashed++
		}
	}
	alone := crashed == 1 && (known || d.Alone)
	out := make([]Sentence, len(holds))
	for i, h := range holds {
		switch {
		case known && !begun[h.Token]:
			out[i] = Back
		case alone && h.Crashes+1 >= driver.SuspectDeaths:
			out[i] = Buried
		case known:
			out[i] = Accused
		default:
			out[i] = Charged
		}
	}
	return out
}

// StaysSuspect reports whether a suspect that is settled so is one still: it was given
// back with no word about its handler, so it has not run.
func StaysSuspect(s driver.Settlement) bool {
	return s.Verdict == driver.Release && s.Attempt == nil && s.Delay <= 0
}

// Acquits reports whether a settlement ends the row of deaths that is counted as a
// message's crashes: whoever held it lives, and gives it back with a word about it, at no
// cost. Else a message that waits long, such as one of an unknown kind, would be charged
// with every kill that hits whoever has it for a moment. A retry acquits nobody but a
// suspect: a message that kills at times must not get all deaths for each of its attempts.
// A fault of the infrastructure is no word about the message: a poison could not be told
// from others by it, and would kill again and again between two of them.
func Acquits(s driver.Settlement) bool {
	about := s.Attempt == nil || s.Attempt.Class != driver.ClassTransient
	return s.Verdict == driver.Release && about && !StaysSuspect(s)
}

// TakesBack reports whether a crash is taken back of a message of which so many were taken
// back before: somebody whose lease ran out settles it all the same, so he has not died of it.
func TakesBack(before int) bool { return before < driver.MaxTakenBack }

// FreedCrashes is how many crashes a suspect counts at least that nobody ran alone in
// time: so many that a worker handles it with nothing else in hand.
const FreedCrashes = 2

// A Commit says what is to be done after a commit that returned an error.
type Commit uint8

// What is to be done.
const (
	Ask   Commit = iota // nobody knows whether it was committed: ask by a locking read
	Fail                // it was not, and the unit is the reason
	Apart               // it was not, and nobody knows whose fault it is: each runs again alone
)

// OfCommit decides about a transaction of some units whose commit failed. Unsure means
// that the connection was lost on the way, and that the store can have committed.
func OfCommit(unsure bool, units int) Commit {
	switch {
	case unsure && !mutant.CommitFails:
		return Ask
	case units == 1:
		return Fail
	}
	return Apart
}

// SparesRescue reports whether leases that ran out are to be left alone once more,
// because the one who would rescue them has waited so long for its turn: nobody else
// could write either, so that whoever holds a message could not renew it. It is not
// twice in a row, or a slow store would never rescue.
func SparesRescue(waited, lease time.Duration, spared bool) bool { return waited > lease/16 && !spared }

// RescueEvery is how often to look for leases that ran out: a lease that is short wants
// to be seen to soon.
func RescueEvery(lease time.Duration) time.Duration {
	return max(min(time.Second, lease/4), time.Millisecond)
}
