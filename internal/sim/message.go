package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
)

// always as a count of message: each time.
const always = 1 << 30

// A message is one that the producer sends: what its handler does, and what has become
// of it, which no part of the fleet knows.
type message struct {
	id, queue string

	transactional bool
	slow          time.Duration // what its handler takes
	deaf          bool          // it goes on when its context ends
	inEffect      bool          // what goes wrong does so in its effect
	kills         int           // it kills its process so often
	hangs         int           // it does not return so often
	snoozes       int
	fails         int // by returning why, so often
	why           error
	unfit         bool // no operation can change its letter

	sent    string // ok, failed, or unknown
	kept    bool   // the store has accepted it
	starts  int    // of its handler
	counted int    // failures of its handler that count
	killed  int    // processes
	struck  int    // crashes of it that no message is the reason of
	done    bool
	dead    bool
	lives   int // it was dead between them
	reason  string
}

// errHandler is what a handler returns that fails.
var errHandler = errors.New("handler failed")

// newMessage makes one by chance: most are well, some are not.
func (w *world) newMessage(n int) *message {
	m := &message{
		id: fmt.Sprintf("m%d", n), queue: w.queues[w.rng.IntN(len(w.queues))], transactional: w.chance(0.6),
		slow: w.between(0, 300*time.Millisecond), deaf: w.chance(0.2), inEffect: w.chance(0.3),
		lives: 1,
	}
	switch n := w.rng.IntN(20); {
	case w.chance(w.poison):
		m.kills = 1 + w.rng.IntN(6)
		if w.chance(0.5) {
			m.kills = always
		}
	case n < 4:
		m.fails, m.why = 1+w.rng.IntN(4), w.whatFails()
	case n == 6:
		m.fails, m.why = 1, posthorn.Reject(errHandler)
	case n == 7:
		m.hangs = 1 + w.rng.IntN(2)
	case n == 8:
		m.snoozes = 1 + w.rng.IntN(2)
	case n == 9:
		m.slow = w.between(0, 3*w.lease)
	}
	if m.inEffect && !m.transactional {
		m.inEffect = false
	}
	return m
}

// whatFails is an error that counts.
func (w *world) whatFails() error {
	switch w.rng.IntN(3) {
	case 0:
		return &posthorn.PanicError{Value: "boom"}
	case 1:
		return posthorn.RetryAfter(w.between(0, 2*time.Second), errHandler)
	}
	return errHandler
}

// produce sends messages one after the other. What was sent with an unknown outcome is
// not sent again.
func (w *world) produce() {
	if w.left == 0 {
		return
	}
	m := w.newMessage(w.left)
	w.left--
	w.messages[m.id], w.order = m, append(w.order, m)
	e := driver.Envelope{ID: m.id, Kind: "work", Queue: m.queue, Priority: w.rng.IntN(2)}
	if w.chance(0.1) {
		e.Delay = w.between(0, 5*time.Second)
	}
	w.store.call(call{
		from: &w.producer, name: "send " + m.id,
		apply: func() {
			if err := w.store.shelf.Send(w.store.now(), e); err != nil {
				w.fail("S1", "send of %s: %v", m.id, err)
			}
			w.note("%s is accepted", m.id)
			m.kept = true
			w.accepted++
			w.store.wake()
		},
		done: func(err error) {
			switch m.sent = "ok"; {
			case errors.Is(err, driver.ErrOutcomeUnknown):
				m.sent = "unknown"
			case err != nil:
				m.sent = "failed"
			}
			w.judgeSent(m)
			w.producer.after(w.between(0, w.faulty/time.Duration(2*w.size)), w.produce)
		},
	})
}
