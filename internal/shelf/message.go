package shelf

import (
	"maps"
	"slices"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// A Letter is a dead letter: a message that was buried.
type Letter struct {
	Seq        int64 // grows in the order in which letters are buried
	Envelope   driver.Envelope
	Deliveries int              // how often it was claimed
	Crashes    int              // how many of the claims ended without a word
	Attempts   []driver.Attempt // its history, the oldest first; at most driver.MaxAttempts
	Reason     string           // why it was buried, one of driver's Reason constants
	Died       time.Time        // when it was buried
}

// A message is one that is live: it is in exactly one heap.
type message struct {
	env        driver.Envelope
	seq        uint64 // order of acceptance
	due        time.Time
	wake       time.Time // when it is due, when its lease ends, or since when it waits as a suspect
	deliveries int
	crashes    int
	suspect    bool
	attempts   []driver.Attempt

	token   driver.Token // of the claim; empty when there is none
	worker  string       // that holds it
	claimed time.Time

	in    *heap
	index int // in its heap
}

// lines of the history that the shelf itself writes.
const (
	fellSilent   = "its worker fell silent while holding it"
	unknownDeath = "its worker died while holding it"
)

// crash counts that the claim ended without a word.
func (m *message) crash(a driver.Attempt, now time.Time) {
	m.crashes++
	a.Number, a.Worker, a.Class = m.env.Attempt+1, m.worker, driver.ClassCrash
	a.Started, a.Duration = m.claimed.Round(0), now.Sub(m.claimed)
	m.log(&a)
}

// log adds to the history, which keeps the newest attempts.
func (m *message) log(a *driver.Attempt) {
	if a == nil {
		return
	}
	kept := *a
	kept.Error = kept.Error[:min(len(kept.Error), driver.MaxAttemptError)]
	kept.Stack = kept.Stack[:min(len(kept.Stack), driver.MaxAttemptStack)]
	m.attempts = append(m.attempts, kept)
	if over := len(m.attempts) - driver.MaxAttempts; over > 0 {
		m.attempts = slices.Delete(m.attempts, 0, over)
	}
}

// letter is what remains of the message when it is buried.
func (m *message) letter(reason string, now time.Time) Letter {
	return Letter{
		Envelope: m.env, Deliveries: m.deliveries, Crashes: m.crashes, Attempts: m.attempts,
		Reason: reason, Died: now.Round(0),
	}
}

// delivery is the claim that a consumer gets to see.
func (m *message) delivery() driver.Delivery {
	return driver.Delivery{
		Envelope: copyOf(m.env), Deliveries: m.deliveries, Crashes: m.crashes, Token: m.token,
	}
}

// copyOf shares nothing with e that can be changed.
func copyOf(e driver.Envelope) driver.Envelope {
	e.Body, e.Header = slices.Clone(e.Body), maps.Clone(e.Header)
	return e
}
