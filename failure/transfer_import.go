package failure

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// A LineError says what is wrong with a line of an import.
type LineError struct {
	Line int // from 1
	Err  error
}

// Error names the line.
func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns what is wrong.
func (e *LineError) Unwrap() error { return e.Err }

// ImportOptions are the settings of Import.
type ImportOptions struct {
	SkipExisting bool // leave out letters whose ids the store knows, instead of refusing them
}

// Imported is what an import has done.
type Imported struct {
	Letters int // that were added
	Skipped int // with SkipExisting
}

// Import adds the letters of what Export has written. It reads everything twice: only
// when every line is good, and no id is taken, the first letter is added. Each batch
// of some hundred letters is added wholly or not at all. Errors: a *LineError for the
// first bad line; one that matches driver.ErrDuplicate for an id that is taken, in the
// file or by the store; those of reading and of store.Store.ImportLetters. When an
// error comes in the middle, Imported says what has been added.
func Import(ctx context.Context, st *store.Store, r io.ReadSeeker, o ImportOptions) (done Imported, err error) {
	maxBody := st.Capabilities().MaxBody
	c := &checking{store: st, skip: o.SkipExisting, seen: map[death]int{}, taken: map[string]bool{}}
	if err := eachLine(r, maxBody, func(n int, d store.Dossier) error { return c.line(ctx, n, d) }); err != nil {
		return done, err
	}
	if err := c.lookup(ctx); err != nil {
		return done, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return done, fmt.Errorf("read again: %w", err)
	}
	b := &batching{store: st, taken: c.taken, done: &done, added: map[string]bool{}}
	err = eachLine(r, maxBody, func(_ int, d store.Dossier) error { return b.add(ctx, d) })
	if err == nil {
		err = b.flush(ctx)
	}
	return done, err
}

// eachLine decodes the lines; empty ones are passed over.
func eachLine(r io.Reader, maxBody int, fn func(n int, d store.Dossier) error) error {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 0, 64<<10), MaxLine)
	n := 0
	for in.Scan() {
		if n++; len(in.Bytes()) == 0 {
			continue
		}
		d, err := Decode(in.Bytes(), maxBody)
		if err != nil {
			return &LineError{Line: n, Err: err}
		}
		if err := fn(n, d); err != nil {
			return err
		}
	}
	if errors.Is(in.Err(), bufio.ErrTooLong) {
		return &LineError{Line: n + 1, Err: fmt.Errorf("it has more than %d bytes", MaxLine)}
	}
	return in.Err()
}

// A death is what tells letters apart: a message may die more than once.
type death struct {
	id string
	at int64
}

// checking looks at all lines before anything is added.
type checking struct {
	store *store.Store
	skip  bool          // ids that are taken are passed over
	seen  map[death]int // → line
	ask   []string      // ids that the store is to be asked about
	lines []int         // of those
	taken map[string]bool
}

func (c *checking) line(ctx context.Context, n int, d store.Dossier) error {
	key := death{d.ID, d.DiedAt.UnixMilli()}
	if first, double := c.seen[key]; double {
		return &LineError{Line: n, Err: fmt.Errorf("%w: line %d is of the same letter, %s", driver.ErrDuplicate, first, d.ID)}
	}
	c.seen[key] = n
	if c.ask, c.lines = append(c.ask, d.ID), append(c.lines, n); len(c.ask) < batchLetters {
		return nil
	}
	return c.lookup(ctx)
}

// lookup asks the store about the ids of some lines.
func (c *checking) lookup(ctx context.Context) error {
	taken, err := c.store.Taken(ctx, c.ask)
	if err != nil {
		return err
	}
	if len(taken) > 0 && !c.skip {
		for i, id := range c.ask {
			if id == taken[0] {
				return &LineError{Line: c.lines[i], Err: &store.TakenError{IDs: taken[:1]}}
			}
		}
	}
	for _, id := range taken {
		c.taken[id] = true
	}
	c.ask, c.lines = nil, nil
	return nil
}

// batching adds letters in batches.
type batching struct {
	store *store.Store
	taken map[string]bool
	added map[string]bool // ids that an earlier batch has added
	batch []store.Dossier
	bytes int
	done  *Imported
}

func (b *batching) add(ctx context.Context, d store.Dossier) error {
	if b.taken[d.ID] {
		b.done.Skipped++
		return nil
	}
	b.batch, b.bytes = append(b.batch, d), b.bytes+len(d.Body)
	if len(b.batch) < batchLetters && b.bytes < batchBytes {
		return nil
	}
	return b.flush(ctx)
}

func (b *batching) flush(ctx context.Context) error {
	err := b.store.ImportLetters(ctx, b.added, b.batch...)
	if err == nil {
		b.done.Letters += len(b.batch)
		for _, d := range b.batch {
			b.added[d.ID] = true
		}
	}
	b.batch, b.bytes = nil, 0
	return err
}
