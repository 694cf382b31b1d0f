package flight

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// An Entry is a message whose handler ran when the record ended.
type Entry struct {
	Token    driver.Token
	ID, Kind string
	Since    time.Time
}

// A Record is what a process was doing.
type Record struct {
	Running []Entry
	// Complete is false when there were more handlers than slots: others than those
	// in Running may have run, too.
	Complete bool
}

// Read reads the record of a process that has ended. It returns ErrNoRecord for
// anything else than a record; a record is never trusted further than its bounds.
func Read(path string) (Record, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Record{}, fmt.Errorf("read flight record: %w", err)
	}
	if len(data) < headerSize || string(data[:len(magic)]) != magic {
		return Record{}, fmt.Errorf("read flight record: %w", ErrNoRecord)
	}
	slots := binary.LittleEndian.Uint64(data[offSlots:])
	if slots > maxSlots || len(data) != headerSize+int(slots)*slotSize {
		return Record{}, fmt.Errorf("read flight record: %w: it has the wrong size", ErrNoRecord)
	}
	rec := Record{Complete: binary.LittleEndian.Uint64(data[offOverflow:]) == 0}
	for at := headerSize; at < len(data); at += slotSize {
		if s := data[at : at+slotSize]; s[offState] == slotBusy {
			rec.Running = append(rec.Running, entryOf(s))
		}
	}
	return rec, nil
}

func entryOf(slot []byte) Entry {
	var token string
	e := Entry{Since: time.Unix(0, int64(binary.LittleEndian.Uint64(slot[offSince:])))}
	rest := slot[offTexts:]
	for _, to := range []*string{&token, &e.ID, &e.Kind} {
		*to, rest = takeText(rest)
	}
	e.Token = driver.Token(token)
	return e
}

// takeText reads a text, and returns what follows it.
func takeText(from []byte) (text string, rest []byte) {
	if len(from) < 2 {
		return "", nil
	}
	n := int(binary.LittleEndian.Uint16(from))
	from = from[2:]
	n = min(n, len(from))
	return string(from[:n]), from[n:]
}
