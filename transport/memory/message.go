package memory

import (
	"slices"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// A Letter is a dead letter: a message that was buried.
type Letter struct {
	Envelope   driver.Envelope
	Deliveries int              // how often it was claimed
	Crashes    int              // how many of the claims ended without a word
	Attempts   []driver.Attempt // its history, the oldest first; at most driver.MaxAttempts
	Reason     string           // why it was buried, one of driver's Reason constants
	Died       time.Time        // when it was buried
}

// A message is one that is live: it is in exactly one heap, that of its queue
// when it is ready, else the transport's heap of those asleep.
type message struct {
	env        driver.Envelope
	seq        uint64 // order of acceptance
	due        time.Time
	wake       time.Time // while asleep: when it is due, or its lease ends
	deliveries int
	crashes    int
	attempts   []driver.Attempt

	token   driver.Token // of the claim; empty when there is none
	worker  string       // that holds it
	claimed time.Time

	index int // in its heap
}

// fellSilent ends a claim whose lease has run out.
func (m *message) fellSilent(now time.Time) {
	m.crashes++
	m.log(&driver.Attempt{
		Number: m.env.Attempt + 1, Worker: m.worker, Started: m.claimed.Round(0), Duration: now.Sub(m.claimed),
		Class: driver.ClassCrash, Error: "its worker fell silent while holding it",
	})
	m.token, m.worker = "", ""
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
