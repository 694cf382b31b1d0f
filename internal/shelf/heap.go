package shelf

import (
	"cmp"
	stdheap "container/heap"
)

// A heap holds messages in an order of its own, and lets any of them be taken
// out.
type heap struct {
	less func(a, b *message) bool
	ms   []*message
}

// servedEarlier is the order in which a queue is served.
func servedEarlier(a, b *message) bool {
	return cmp.Or(cmp.Compare(b.env.Priority, a.env.Priority), a.due.Compare(b.due), cmp.Compare(a.seq, b.seq)) < 0
}

// wakesEarlier is the order in which messages come due.
func wakesEarlier(a, b *message) bool {
	return cmp.Or(a.wake.Compare(b.wake), cmp.Compare(a.seq, b.seq)) < 0
}

func (h *heap) push(m *message) {
	m.in = h
	stdheap.Push((*sorted)(h), m)
}

// leave takes a message out of the heap that it is in.
func (m *message) leave() {
	stdheap.Remove((*sorted)(m.in), m.index)
	m.in = nil
}

// first is the message to take next, or nil.
func (h *heap) first() *message {
	if h == nil || len(h.ms) == 0 {
		return nil
	}
	return h.ms[0]
}

// sorted is a heap as container/heap wants to see it.
type sorted heap

func (s *sorted) Len() int           { return len(s.ms) }
func (s *sorted) Less(i, j int) bool { return s.less(s.ms[i], s.ms[j]) }

func (s *sorted) Swap(i, j int) {
	s.ms[i], s.ms[j] = s.ms[j], s.ms[i]
	s.ms[i].index, s.ms[j].index = i, j
}

func (s *sorted) Push(x any) {
	m := x.(*message)
	m.index = len(s.ms)
	s.ms = append(s.ms, m)
}

func (s *sorted) Pop() any {
	last := len(s.ms) - 1
	m := s.ms[last]
	s.ms[last] = nil
	s.ms = s.ms[:last]
	return m
}
