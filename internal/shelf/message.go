package shelf

import (
	"maps"
	"slices"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/ruling"
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
	lines      []line

	token   driver.Token // of the claim; empty when there is none
	worker  string       // that holds it
	claimed time.Time

	in    *heap
	index int // in its heap
}

// A line is one of a message's history. Where a lease ran out, it names the claim.
type line struct {
	driver.Attempt
	claim driver.Token
}

// texts of the history that the shelf itself writes.
const (
	fellSilent   = "its worker fell silent while holding it"
	cameBack     = "its worker fell silent while holding it, and came back"
	unknownDeath = "its worker died while holding it"
)

// crash counts that the claim ended without a word.
func (m *message) crash(a driver.Attempt, claim driver.Token, now time.Time) {
	m.crashes++
	a.Number, a.Worker, a.Class = m.env.Attempt+1, m.worker, driver.ClassCrash
	a.Started, a.Duration = m.claimed.Round(0), now.Sub(m.claimed)
	m.log(&a, claim)
}

// takeBack takes back the crash that was counted when the lease of a claim ran out.
func (m *message) takeBack(claim driver.Token) {
	before := 0
	for i := range m.lines {
		if m.lines[i].Class == driver.ClassLeaseLost {
			before++
		}
	}
	i := slices.IndexFunc(m.lines, func(l line) bool { return l.claim == claim && l.Class == driver.ClassCrash })
	if i < 0 || m.crashes == 0 || !ruling.TakesBack(before) {
		return
	}
	m.lines[i].Class, m.lines[i].Error = driver.ClassLeaseLost, cameBack
	m.crashes--
}

// log adds to the history, which keeps the newest attempts.
func (m *message) log(a *driver.Attempt, claim driver.Token) {
	if a == nil {
		return
	}
	kept := line{*a, claim}
	kept.Error = kept.Error[:min(len(kept.Error), driver.MaxAttemptError)]
	kept.Stack = kept.Stack[:min(len(kept.Stack), driver.MaxAttemptStack)]
	m.lines = append(m.lines, kept)
	if over := len(m.lines) - driver.MaxAttempts; over > 0 {
		m.lines = slices.Delete(m.lines, 0, over)
	}
}

// letter is what remains of the message when it is buried.
func (m *message) letter(reason string, now time.Time) Letter {
	history := make([]driver.Attempt, len(m.lines))
	for i, l := range m.lines {
		history[i] = l.Attempt
	}
	return Letter{
		Envelope: m.env, Deliveries: m.deliveries, Crashes: m.crashes, Attempts: history,
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
