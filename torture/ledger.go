package torture

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/posthorn/posthorn/torture/oracle"
)

// A ledger is what one producer wanted and got, in a file outside the store. An
// intent is on the disk before its message is sent. An outcome is written down
// afterwards; a producer that dies first leaves it unknown.
type ledger struct {
	file *os.File
	buf  *bufio.Writer
}

// A line is one line of a ledger: an intent, or the outcome of some.
type line struct {
	Intent  *oracle.Intent `json:"i,omitempty"`
	Outcome oracle.Outcome `json:"o,omitempty"`
	IDs     []string       `json:"ids,omitempty"`
}

// createLedger makes the file of a producer, which must be new.
func createLedger(path string) (*ledger, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create ledger: %w", err)
	}
	return &ledger{file: file, buf: bufio.NewWriter(file)}, nil
}

// intend writes intents, and returns when they are on the disk.
func (l *ledger) intend(ins []oracle.Intent) error {
	for i := range ins {
		if err := l.write(line{Intent: &ins[i]}); err != nil {
			return err
		}
	}
	if err := l.buf.Flush(); err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	return nil
}

// note writes the outcome of intents. It outlives this process, though not the
// machine; the next intents take it to the disk.
func (l *ledger) note(ins []oracle.Intent, o oracle.Outcome) error {
	ids := make([]string, len(ins))
	for i, in := range ins {
		ids[i] = in.ID
	}
	if err := l.write(line{Outcome: o, IDs: ids}); err != nil {
		return err
	}
	return l.buf.Flush()
}

func (l *ledger) write(v line) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	_, err = l.buf.Write(append(text, '\n'))
	return err
}

func (l *ledger) close() error { return errors.Join(l.buf.Flush(), l.file.Sync(), l.file.Close()) }

// readLedgers reads all ledgers of a directory.
func readLedgers(dir string) (all []oracle.Intent, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*"+ledgerEnding))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		file, err := os.Open(path) //nolint:gosec // our own directory
		if err != nil {
			return nil, fmt.Errorf("read ledger: %w", err)
		}
		ins, err := readLedger(file)
		if err = errors.Join(err, file.Close()); err != nil {
			return nil, fmt.Errorf("read ledger %s: %w", filepath.Base(path), err)
		}
		all = append(all, ins...)
	}
	return all, nil
}

const ledgerEnding = ".ledger"

// readLedger reads one. A last line without its end is of a producer that was
// killed while it wrote: no message was sent for it.
func readLedger(r io.Reader) ([]oracle.Intent, error) {
	var ins []oracle.Intent
	at := map[string]int{}
	in := bufio.NewReader(r)
	for {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return ins, nil
		}
		if err != nil {
			return nil, err
		}
		var l line
		if err := json.Unmarshal(bytes.TrimSpace(text), &l); err != nil {
			return nil, err
		}
		if l.Intent != nil {
			at[l.Intent.ID] = len(ins)
			l.Intent.Outcome = oracle.Unknown
			ins = append(ins, *l.Intent)
		}
		for _, id := range l.IDs {
			ins[at[id]].Outcome = l.Outcome
		}
	}
}
