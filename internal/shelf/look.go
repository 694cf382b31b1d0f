package shelf

import (
	"cmp"
	"slices"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// A Place is where a live message is.
type Place uint8

// The places.
const (
	Ready Place = iota
	Later
	Leased
	Suspected
)

// A Row is a live message as one who looks from outside sees it.
type Row struct {
	ID, Queue                    string
	Place                        Place
	Token                        driver.Token // of the claim; empty when there is none
	Worker                       string       // that holds it
	Attempt, Deliveries, Crashes int
	Suspect                      bool
	Wake                         time.Time // when it is due, when its lease ends, or since when it waits
}

// Rows lists the live messages in the order in which they were accepted.
func (s *Shelf) Rows() []Row {
	ms := make([]*message, 0, len(s.live))
	for _, m := range s.live {
		ms = append(ms, m)
	}
	slices.SortFunc(ms, func(a, b *message) int { return cmp.Compare(a.seq, b.seq) })
	out := make([]Row, len(ms))
	for i, m := range ms {
		out[i] = s.row(m)
	}
	return out
}

// Row is the live message that a token is of, whether the claim stands or not.
func (s *Shelf) Row(token driver.Token) (Row, bool) {
	m := s.live[seqOf(token)]
	if m == nil {
		return Row{}, false
	}
	return s.row(m), true
}

func (s *Shelf) row(m *message) Row {
	r := Row{
		ID: m.env.ID, Queue: m.env.Queue, Token: m.token, Worker: m.worker, Suspect: m.suspect, Wake: m.wake,
		Attempt: m.env.Attempt, Deliveries: m.deliveries, Crashes: m.crashes,
	}
	switch m.in {
	case &s.later:
		r.Place = Later
	case &s.leased:
		r.Place = Leased
	case s.suspects[m.env.Queue]:
		r.Place = Suspected
	}
	return r
}

// Counts are how many messages are live, and how many are dead.
func (s *Shelf) Counts() (live, dead int) { return len(s.live), len(s.dead) }
