// Package flight is a worker process's flight recorder: a file that names the
// messages whose handlers run right now. The process writes it through a memory
// mapping, so a note costs no system call, and what was noted outlives the
// process, however it dies: the pages belong to the kernel. Whoever has reaped the
// process reads which messages may have killed it; all others it held are innocent.
//
// It protects against the death of the process, not of the machine: nothing is
// flushed to the disk.
package flight

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// ErrNoRecord is returned for a file that is no flight record, or an
// incomplete one: its process died before the recorder stood.
var ErrNoRecord = errors.New("no flight record")

// The layout of the file: a header, then slots of a fixed size. Numbers are
// little endian. The layout may change with each version of the program: writer and
// reader are the same executable.
const (
	magic      = "PHFLT001"
	headerSize = 128
	slotSize   = 512
	maxSlots   = 1 << 16

	offSlots    = 8  // in the header: the number of slots
	offOverflow = 16 // in the header: how many notes found no slot

	offState = 0 // in a slot: slotFree or slotBusy
	offSince = 8 // in a slot: when it was entered, in nanoseconds of Unix time
	offTexts = 16

	maxText = 160 // bytes of one text in a slot
)

const (
	slotFree = 0
	slotBusy = 1
)

// A Recorder notes which messages run user code in this process. It is safe for
// concurrent use.
type Recorder struct {
	mu   sync.Mutex
	mem  []byte
	file *os.File
	free []int
}

// Create makes the file of a recorder, for so many messages at once, and replaces
// one that is there. Close it when the worker has ended.
func Create(path string, slots int) (*Recorder, error) {
	slots = min(max(slots, 1), maxSlots)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create flight record: %w", err)
	}
	mem, err := mapFile(file, headerSize+slots*slotSize)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("map flight record: %w", err), file.Close())
	}
	r := &Recorder{mem: mem, file: file, free: make([]int, slots)}
	for i := range r.free {
		r.free[i] = slots - 1 - i // the first slot is taken first
	}
	binary.LittleEndian.PutUint64(mem[offSlots:], uint64(slots))
	copy(mem, magic) // last: a file without it is no record
	return r, nil
}

// Enter notes that the message's handler begins. Leave takes the number that it
// returns. When all slots are taken the record says so: nobody then knows all that
// ran.
func (r *Recorder) Enter(d driver.Delivery) (slot int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mem == nil {
		return noSlot
	}
	last := len(r.free) - 1
	if last < 0 {
		binary.LittleEndian.PutUint64(r.mem[offOverflow:], r.overflow()+1)
		return noSlot
	}
	slot = r.free[last]
	r.free = r.free[:last]
	s := r.slot(slot)
	binary.LittleEndian.PutUint64(s[offSince:], uint64(time.Now().UnixNano()))
	rest := s[offTexts:]
	for _, text := range [...]string{string(d.Token), d.ID, d.Kind} {
		rest = rest[putText(rest[:2+min(len(rest)-2, maxText)], text):]
	}
	s[offState] = slotBusy
	return slot
}

// noSlot is the number of a note that found no slot.
const noSlot = -1

// Leave notes that the handler has returned.
func (r *Recorder) Leave(slot int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.mem == nil:
	case slot == noSlot:
		binary.LittleEndian.PutUint64(r.mem[offOverflow:], r.overflow()-1)
	default:
		r.slot(slot)[offState] = slotFree
		r.free = append(r.free, slot)
	}
}

// Close ends the recorder. The file stays, and says what ran at the end.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mem == nil {
		return nil
	}
	err := errors.Join(unmapFile(r.mem), r.file.Close())
	r.mem, r.free = nil, nil
	return err
}

func (r *Recorder) overflow() uint64 { return binary.LittleEndian.Uint64(r.mem[offOverflow:]) }

func (r *Recorder) slot(i int) []byte {
	return r.mem[headerSize+i*slotSize:][:slotSize]
}

// putText writes a text with its length, cut to the room there is. It returns how
// many bytes it took.
func putText(to []byte, text string) int {
	n := copy(to[2:], text)
	binary.LittleEndian.PutUint16(to, uint16(n))
	return 2 + n
}
