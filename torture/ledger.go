package torture

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/posthorn/posthorn/torture/oracle"
)

// A ledger is what one producer or operator wanted and got, in a file outside the store. An
// intent is on the disk before its message is sent. An outcome is written down
// afterwards; a producer that dies first leaves it unknown.
type ledger struct {
	file *os.File
	buf  *bufio.Writer
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
		if err := l.write(oracle.Line{Intent: &ins[i]}); err != nil {
			return err
		}
	}
	return l.sync()
}

// order writes an order, and returns when it is on the disk.
func (l *ledger) order(o oracle.Order) error {
	if err := l.write(oracle.Line{Order: &o}); err != nil {
		return err
	}
	return l.sync()
}

// sync takes what was written to the disk.
func (l *ledger) sync() error {
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
	return l.end(o, ids...)
}

// end writes the outcome of intents or orders.
func (l *ledger) end(o oracle.Outcome, ids ...string) error {
	if err := l.write(oracle.Line{Outcome: o, IDs: ids}); err != nil {
		return err
	}
	return l.buf.Flush()
}

func (l *ledger) write(v oracle.Line) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	_, err = l.buf.Write(append(text, '\n'))
	return err
}

func (l *ledger) close() error { return errors.Join(l.buf.Flush(), l.file.Sync(), l.file.Close()) }

// readLedgers reads all ledgers of a directory.
func readLedgers(dir string) (all oracle.Ledger, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*"+ledgerEnding))
	if err != nil {
		return all, err
	}
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			return all, fmt.Errorf("read ledger: %w", err)
		}
		one, err := oracle.ReadLedger(file)
		if err = errors.Join(err, file.Close()); err != nil {
			return all, fmt.Errorf("read ledger %s: %w", filepath.Base(path), err)
		}
		all.Intents = append(all.Intents, one.Intents...)
		all.Orders = append(all.Orders, one.Orders...)
	}
	return all, nil
}

const ledgerEnding = ".ledger"
