package shelf

import (
	"cmp"
	"slices"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// bury makes a dead letter of a message.
func (s *Shelf) bury(m *message, reason string, now time.Time) {
	s.forget(m)
	s.letters++
	l := m.letter(reason, now)
	l.Seq = s.letters
	s.dead = append(s.dead, l)
}

// find is where a letter is, or would be.
func (s *Shelf) find(seq int64) (int, bool) {
	return slices.BinarySearchFunc(s.dead, seq, func(l Letter, seq int64) int { return cmp.Compare(l.Seq, seq) })
}

// LastLetter is the number of the last letter that was buried; 0 is none.
func (s *Shelf) LastLetter() int64 { return s.letters }

// Letter finds a dead letter by its number: whose it is, by id and queue.
func (s *Shelf) Letter(seq int64) (id, queue string, ok bool) {
	i, ok := s.find(seq)
	if !ok {
		return "", "", false
	}
	return s.dead[i].Envelope.ID, s.dead[i].Envelope.Queue, true
}

// TakeLetter takes a dead letter out. What becomes of it is another's business: who retries
// it sends the envelope, of which no attempt has failed.
func (s *Shelf) TakeLetter(seq int64) (driver.Envelope, bool) {
	i, ok := s.find(seq)
	if !ok {
		return driver.Envelope{}, false
	}
	e := s.dead[i].Envelope
	e.Attempt, e.NotBefore = 0, time.Time{}
	s.dead = slices.Delete(s.dead, i, i+1)
	return e, true
}

// IsLive reports whether a message with this id is neither done nor dead.
func (s *Shelf) IsLive(id string) bool { return s.ids[id] > 0 }
