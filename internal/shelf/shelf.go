// Package shelf keeps messages in memory, and does to them what a store does: it claims,
// settles, renews, rescues, keeps suspects apart, buries. It is what transport/memory
// is made of, which passes the conformance suite and its models, and what the simulator
// takes for a store.
//
// It starts nothing, waits for nothing, and reads no clock: the time is an argument, and
// is the store's.
package shelf

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/mutant"
	"github.com/posthorn/posthorn/internal/ruling"
	"github.com/posthorn/posthorn/internal/safety"
)

// A Shelf holds messages. It is not safe for concurrent use.
type Shelf struct {
	uniqueIDs bool
	seq       uint64              // of the last message accepted
	claims    uint64              // made so far
	live      map[uint64]*message // by seq
	ids       map[string]int      // live messages with this id
	ready     map[string]*heap    // by queue: what can be claimed
	suspects  map[string]*heap    // by queue: what waits to be run alone
	later     heap                // delayed
	leased    heap
	dead      []Letter // in the order of their numbers
	letters   int64    // buried so far
}

// New returns an empty shelf. With uniqueIDs, an id that is live is refused.
func New(uniqueIDs bool) *Shelf {
	return &Shelf{
		uniqueIDs: uniqueIDs, live: map[uint64]*message{}, ids: map[string]int{},
		ready: map[string]*heap{}, suspects: map[string]*heap{},
		later: heap{less: wakesEarlier}, leased: heap{less: wakesEarlier},
	}
}

// Send accepts all the envelopes, which have been checked, or none. Error:
// driver.ErrDuplicate.
func (s *Shelf) Send(now time.Time, envs ...driver.Envelope) error {
	if err := s.checkIDs(envs); err != nil {
		return err
	}
	for _, e := range envs {
		s.accept(e, now)
	}
	return nil
}

// checkIDs refuses an id that is live, or twice among the envelopes.
func (s *Shelf) checkIDs(envs []driver.Envelope) error {
	if !s.uniqueIDs {
		return nil
	}
	seen := make(map[string]bool, len(envs))
	for _, e := range envs {
		if seen[e.ID] || s.ids[e.ID] > 0 {
			return fmt.Errorf("send %s: %w: %s", e.Kind, driver.ErrDuplicate, e.ID)
		}
		seen[e.ID] = true
	}
	return nil
}

// accept makes a live message of a checked envelope.
func (s *Shelf) accept(e driver.Envelope, now time.Time) {
	due := now
	switch {
	case e.Delay > 0:
		due = now.Add(e.Delay)
	case e.NotBefore.After(now):
		due = now.Add(e.NotBefore.Sub(now))
	}
	e = copyOf(e)
	e.SentAt, e.Delay = now.Round(0), 0
	s.seq++
	m := &message{env: e, seq: s.seq}
	s.live[m.seq] = m
	s.ids[e.ID]++
	s.wait(m, due, now)
}

// wait puts a message that is in no heap where it waits for its time, or for a consumer.
func (s *Shelf) wait(m *message, due, now time.Time) {
	m.due, m.env.NotBefore = due, due.Round(0)
	m.token, m.worker = "", ""
	if due.After(now) {
		m.wake = due
		s.later.push(m)
		return
	}
	s.offer(m, now)
}

// offer lets a message that is in no heap be claimed.
func (s *Shelf) offer(m *message, now time.Time) {
	m.token, m.worker, m.wake = "", "", now
	heaps := s.ready
	if m.suspect {
		heaps = s.suspects
	}
	h := heaps[m.env.Queue]
	if h == nil {
		h = &heap{less: servedEarlier}
		heaps[m.env.Queue] = h
	}
	h.push(m)
}

// Promote makes ready the delayed messages that have come due. It reports whether there
// were any.
func (s *Shelf) Promote(now time.Time) (moved bool) {
	for m := s.later.first(); m != nil && !m.wake.After(now); m = s.later.first() {
		m.leave()
		s.offer(m, now)
		moved = true
	}
	return moved
}

// Expired finds the claims whose lease has run out.
func (s *Shelf) Expired(now time.Time) (tokens []driver.Token) {
	if m := s.leased.first(); m == nil || m.wake.After(now) && !mutant.RescueBlind {
		return nil
	}
	for _, m := range s.leased.ms {
		if !m.wake.After(now) || mutant.RescueBlind {
			tokens = append(tokens, m.token)
		}
	}
	slices.SortFunc(tokens, func(a, b driver.Token) int { return strings.Compare(string(a), string(b)) })
	return tokens
}

// Rescue ends claims whose lease has run out: a crash of their worker. The time is
// compared again, so a lease that was renewed since they were found is safe. It returns how
// many there were.
func (s *Shelf) Rescue(now time.Time, tokens ...driver.Token) (n int) {
	for _, token := range tokens {
		m := s.claimed(token)
		if m == nil || m.token == "" || m.wake.After(now) && !mutant.RescueBlind {
			continue
		}
		m.crash(driver.Attempt{Error: fellSilent}, m.token, now)
		m.leave()
		s.offer(m, now)
		n++
	}
	return n
}

// Claim takes at most limit messages of a queue for a consumer, by priority, then due
// time.
func (s *Shelf) Claim(now time.Time, sub driver.Subscription, queue string, limit int) (ds []driver.Delivery) {
	h := s.ready[queue]
	if sub.Suspects {
		h, limit = s.suspects[queue], min(limit, 1)
	}
	for m := h.first(); m != nil && len(ds) < limit; m = h.first() {
		m.leave()
		s.claims++
		m.token = driver.Token(fmt.Sprintf("%d.%d", m.seq, s.claims))
		if safety.CrashCount {
			m.deliveries++
		}
		m.worker, m.claimed, m.wake = sub.Worker, now, now.Add(sub.Lease)
		s.leased.push(m)
		ds = append(ds, m.delivery())
	}
	return ds
}

// Next is when time alone may change something next; zero means never.
func (s *Shelf) Next() (next time.Time) {
	for _, h := range []*heap{&s.later, &s.leased} {
		if m := h.first(); m != nil && (next.IsZero() || m.wake.Before(next)) {
			next = m.wake
		}
	}
	return next
}

// claimed finds the message that the token holds, or nil.
func (s *Shelf) claimed(token driver.Token) *message {
	if m := s.live[seqOf(token)]; m != nil && (m.token == token || !safety.Fencing) {
		return m
	}
	return nil
}

// seqOf is the message of a token; 0 is none.
func seqOf(token driver.Token) uint64 {
	head, _, _ := strings.Cut(string(token), ".")
	seq, _ := strconv.ParseUint(head, 10, 64)
	return seq
}

// Held reports whether a claim stands.
func (s *Shelf) Held(token driver.Token) bool { return s.claimed(token) != nil }

// forget ends a message.
func (s *Shelf) forget(m *message) {
	m.leave()
	delete(s.live, m.seq)
	if s.ids[m.env.ID]--; s.ids[m.env.ID] == 0 {
		delete(s.ids, m.env.ID)
	}
}

// Settle ends the claim of one message for a consumer of suspects or of others. It
// reports whether the claim stood; else a crash is taken back that its end was counted as.
func (s *Shelf) Settle(now time.Time, suspects bool, t driver.Settlement) bool {
	m := s.claimed(t.Delivery.Token)
	if m == nil {
		if m = s.live[seqOf(t.Delivery.Token)]; m != nil {
			m.takeBack(t.Delivery.Token)
		}
		return false
	}
	m.log(t.Attempt, "")
	switch t.Verdict {
	case driver.Ack:
		s.forget(m)
		return true
	case driver.Bury:
		s.bury(m, t.Reason, now)
		return true
	case driver.Retry:
		m.env.Attempt++
	}
	m.leave()
	if suspects && m.suspect && ruling.StaysSuspect(t) {
		s.offer(m, now)
		return true
	}
	if m.suspect || ruling.Acquits(t) {
		m.suspect, m.crashes = false, 0
	}
	if t.Queue != "" {
		m.env.Queue = t.Queue
	}
	s.wait(m, now.Add(max(t.Delay, 0)), now)
	return true
}

// Extend renews the lease of a claim, and reports whether the claim stands.
func (s *Shelf) Extend(now time.Time, lease time.Duration, token driver.Token) bool {
	m := s.claimed(token)
	if m == nil || m.token == "" {
		return false
	}
	m.leave()
	m.wake = now.Add(lease)
	s.leased.push(m)
	return true
}

// Live returns copies of all messages that are not done and not dead, in the order in
// which they were accepted.
func (s *Shelf) Live() []driver.Envelope {
	out := make([]driver.Envelope, 0, len(s.live))
	for _, seq := range slices.Sorted(maps.Keys(s.live)) {
		out = append(out, copyOf(s.live[seq].env))
	}
	return out
}

// Dead returns copies of the dead letters in the order in which they were buried.
func (s *Shelf) Dead() []Letter {
	out := slices.Clone(s.dead)
	for i := range out {
		out[i].Envelope = copyOf(out[i].Envelope)
		out[i].Attempts = slices.Clone(out[i].Attempts)
	}
	return out
}
