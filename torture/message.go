package torture

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/torture/oracle"
)

// queue is where the messages of a run wait.
const queue = "torture"

// A plan is a message whose handler does what Fate says.
type plan struct {
	Fate oracle.Fate `json:"fate"`
	N    int         `json:"n"`
	Pad  string      `json:"pad,omitempty"`
}

// Validate refuses the plans that are to be refused.
func (p plan) Validate() error {
	if p.Fate == oracle.Invalid {
		return errors.New("as planned")
	}
	return nil
}

type (
	planEffect struct{ plan } // handled by HandleEffect
	planTx     struct{ plan } // handled by HandleTx
	planRaw    struct{ plan } // handled by HandleTx with a transaction of its own
	planHasty  struct{ plan } // handled by HandleEffect with a short deadline

	planPatient struct{ plan } // handled by HandleTx, with more retries than an outage has pauses
)

// Kind names it.
func (planEffect) Kind() string { return "torture.effect" }

// Kind names it.
func (planTx) Kind() string { return "torture.tx" }

// Kind names it.
func (planRaw) Kind() string { return "torture.raw" }

// Kind names it.
func (planHasty) Kind() string { return "torture.hasty" }

// Kind names it.
func (planPatient) Kind() string { return "torture.patient" }

// strangerKind is a kind that no worker of a run knows.
const strangerKind = "torture.stranger"

// A share is how many of 10,000 messages have a fate; the rest are just done.
type share struct {
	fate oracle.Fate
	of   int
}

// shares are what producers send. The fates that end a process, or a worker, are
// rare: each costs a new one.
func shares() []share {
	return []share{
		{oracle.FailOnce, 150}, {oracle.PanicOnce, 80}, {oracle.TimeoutOnce, 20}, {oracle.Reject, 150},
		{oracle.Fail, 50}, {oracle.Panic, 30}, {oracle.Invalid, 30}, {oracle.Garbage, 80}, {oracle.Far, 10},
		{oracle.Stranger, 2}, {oracle.TooLarge, 5}, {oracle.Twin, 30}, {oracle.Dirty, 100}, {oracle.Spawn, 200},
		{oracle.Deadlock, 100}, {oracle.Conflict, 50}, {oracle.HangOnce, 3}, {oracle.ExitOnce, 5}, {oracle.Poison, 1},
		{oracle.Mended, 300}, {oracle.Relapse, 120}, {oracle.Typo, 80}, {oracle.Patient, 1000},
	}
}

// pickFate picks one by chance, among those that are allowed.
func pickFate(rnd *rand.Rand, without []oracle.Fate) oracle.Fate {
	n := rnd.IntN(10_000)
	for _, s := range shares() {
		if n -= s.of; n < 0 {
			if slices.Contains(without, s.fate) {
				break
			}
			return s.fate
		}
	}
	return oracle.Done
}

// compose makes the message of a fate.
func compose(rnd *rand.Rand, id string, n int, fate oracle.Fate) driver.Envelope {
	env := driver.Envelope{ID: id, Queue: queue, Priority: rnd.IntN(3) - 1}
	p := plan{Fate: fate, N: n, Pad: padding(rnd)}
	switch fate {
	case oracle.TimeoutOnce, oracle.HangOnce:
		env.Kind = planHasty{}.Kind()
	case oracle.Stranger:
		env.Kind = strangerKind
	case oracle.Patient:
		env.Kind = planPatient{}.Kind()
	case oracle.Dirty: // in a transaction of its own, or in one that it shares
		env.Kind = []string{planTx{}.Kind(), planRaw{}.Kind()}[rnd.IntN(2)]
	default:
		kinds := []string{planEffect{}.Kind(), planEffect{}.Kind(), planTx{}.Kind(), planTx{}.Kind(), planRaw{}.Kind()}
		env.Kind = kinds[rnd.IntN(len(kinds))]
	}
	switch fate {
	case oracle.Far:
		env.Delay = 24 * time.Hour
	case oracle.TooLarge:
		p.Pad = strings.Repeat("x", driver.MaxBody)
	case oracle.Garbage:
		env.Body = garbage(rnd)
		return env
	case oracle.Done:
		delays(rnd, &env)
	}
	body, err := json.Marshal(p)
	if err != nil { // a plan always has an encoding
		panic(err)
	}
	env.Body = body
	return env
}

// delays gives some messages a due time, past or near.
func delays(rnd *rand.Rand, env *driver.Envelope) {
	switch rnd.IntN(40) {
	case 0:
		env.Delay = time.Duration(rnd.IntN(2000)) * time.Millisecond
	case 1:
		env.NotBefore = time.Now().Add(-time.Duration(rnd.IntN(1000)) * time.Hour)
	case 2:
		env.Header = map[string]string{"note": "a\tb\nc\x00é\u202e"}
	}
}

// padding is text of odd lengths and characters.
func padding(rnd *rand.Rand) string {
	switch rnd.IntN(200) {
	case 0:
		return strings.Repeat("€", 20_000)
	case 1:
		return "\x00\x1b[2J'\"\\\u202e%s;--"
	}
	return strings.Repeat("p", rnd.IntN(200))
}

// garbage is a body that is no JSON: empty, with NULs, not UTF-8, up to the limit.
func garbage(rnd *rand.Rand) []byte {
	n := rnd.IntN(300)
	if rnd.IntN(50) == 0 {
		n = driver.MaxBody
	}
	body := make([]byte, n)
	for i := range body {
		body[i] = byte(rnd.Uint32())
	}
	if n > 0 {
		body[0] = 0xff // no JSON begins so
	}
	return body
}

// digest tells bodies apart.
func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:16])
}

// policy is how often the messages of a run are tried again.
func policy(retries int) posthorn.RetryPolicy {
	return posthorn.RetryPolicy{MaxRetries: retries, Delay: 50 * time.Millisecond, MaxDelay: time.Second}
}
