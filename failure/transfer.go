package failure

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/printable"
	"github.com/posthorn/posthorn/store"
)

// Format names what Export writes: one JSON object a line.
const Format = "posthorn-letter/1"

// MaxLine bounds a line of an import in bytes. A body with all of its revisions has to
// fit into it.
const MaxLine = 64 << 20

// Each batch of an import is a transaction of its own, with so many letters, or so
// many bytes of bodies.
const (
	batchLetters = 500
	batchBytes   = 8 << 20
)

// A line is one letter in a file. The order of its fields is that in the file, so that
// what is exported twice is equal byte for byte. Bodies are in base64.
type line struct {
	Format     string            `json:"format"`
	ID         string            `json:"id"`
	Kind       string            `json:"kind"`
	Queue      string            `json:"queue"`
	Priority   int               `json:"priority"`
	Attempt    int               `json:"attempt"`
	Deliveries int               `json:"deliveries"`
	Crashes    int               `json:"crashes"`
	SentAt     stamp             `json:"sent_at"`
	DiedAt     stamp             `json:"died_at"`
	Discarded  *stamp            `json:"discarded_at,omitempty"`
	Reason     string            `json:"reason"`
	Class      string            `json:"class"`
	Error      string            `json:"error"`
	Group      string            `json:"fingerprint"`
	ErrorType  string            `json:"error_type"`
	Build      string            `json:"build"`
	Header     map[string]string `json:"header,omitempty"`
	Body       []byte            `json:"body"`
	Revision   int               `json:"revision"`
	Attempts   []attemptLine     `json:"attempts"`
	Revisions  []revisionLine    `json:"revisions"`
}

// An attemptLine is an attempt in a line.
type attemptLine struct {
	Number   int    `json:"number"`
	Worker   string `json:"worker"`
	Started  stamp  `json:"started_at"`
	Duration int64  `json:"duration_us"`
	Class    string `json:"class"`
	Error    string `json:"error"`
	Stack    string `json:"stack"`
	Build    string `json:"build"`
}

// A revisionLine is a revision in a line.
type revisionLine struct {
	Number int               `json:"number"`
	At     stamp             `json:"at"`
	Actor  string            `json:"actor"`
	Header map[string]string `json:"header,omitempty"`
	Body   []byte            `json:"body"`
}

// A stamp is a time in milliseconds, as stores keep it. The zero time is 0 there.
type stamp struct{ time.Time }

// stampForm is RFC 3339 in UTC with three digits of a second.
const stampForm = "2006-01-02T15:04:05.000Z"

// MarshalJSON writes it.
func (s stamp) MarshalJSON() ([]byte, error) {
	at := s.Time
	if at.IsZero() {
		at = time.UnixMilli(0)
	}
	return []byte(`"` + at.UTC().Format(stampForm) + `"`), nil
}

// UnmarshalJSON reads it, and no other form.
func (s *stamp) UnmarshalJSON(text []byte) error {
	var inner string
	if err := json.Unmarshal(text, &inner); err != nil {
		return err
	}
	at, err := time.Parse(stampForm, inner)
	if err == nil && (at.UnixMilli() < 0 || at.Format(stampForm) != inner) {
		err = fmt.Errorf("time %q is out of range", inner)
	}
	if s.Time = at; at.UnixMilli() == 0 {
		s.Time = time.Time{}
	}
	return err
}

// Export writes the letters that a filter chooses, each with its history and its
// revisions, in the order in which they died; Limit 0 means all. It returns how many
// it has written. It reads only.
func Export(ctx context.Context, st *store.Store, f store.LetterFilter, w io.Writer) (n int, err error) {
	const page = 100
	out, most := bufio.NewWriter(w), f.Limit
	if f, err = st.Bound(ctx, f); err != nil {
		return 0, err
	}
	for {
		if f.Limit = page; most > 0 {
			f.Limit = min(page, most-n)
		}
		found, err := st.LetterPage(ctx, f)
		if err != nil {
			return n, err
		}
		for _, l := range found.Letters {
			d, err := st.Dossier(ctx, l)
			if err != nil {
				return n, err
			}
			text, err := Encode(d)
			if _, writing := out.Write(text); cmp.Or(err, writing) != nil {
				return n, fmt.Errorf("write letter: %w", cmp.Or(err, writing))
			}
			n++
		}
		if f.Past = found.Next; f.Past == 0 || most > 0 && n >= most {
			break
		}
	}
	if err := out.Flush(); err != nil {
		return n, fmt.Errorf("write letters: %w", err)
	}
	return n, nil
}

// Encode writes a letter as a line, with its end. A terminal or a reader of lines obeys
// nothing in it.
func Encode(d store.Dossier) ([]byte, error) {
	text, err := json.Marshal(lineOf(d))
	if err != nil {
		return nil, fmt.Errorf("encode letter: %w", err)
	}
	return append(printable.JSON(text), '\n'), nil
}

func lineOf(d store.Dossier) line {
	l := line{
		Format: Format, ID: d.ID, Kind: d.Kind, Queue: d.Queue, Priority: d.Priority, Attempt: d.Attempt,
		Deliveries: d.Deliveries, Crashes: d.Crashes, SentAt: stamp{d.SentAt}, DiedAt: stamp{d.DiedAt},
		Reason: d.Reason, Class: string(d.Class), Error: d.Error, Group: d.Fingerprint, ErrorType: d.ErrorType,
		Build: d.Build, Header: d.Header, Body: some(d.Body), Revision: d.Revision,
		Attempts: []attemptLine{}, Revisions: []revisionLine{},
	}
	if !d.Discarded.IsZero() {
		l.Discarded = &stamp{d.Discarded}
	}
	for _, a := range d.Attempts {
		l.Attempts = append(l.Attempts, attemptLine{
			Number: a.Number, Worker: a.Worker, Started: stamp{a.Started}, Duration: a.Duration.Microseconds(),
			Class: string(a.Class), Error: a.Error, Stack: a.Stack, Build: a.Build,
		})
	}
	for _, v := range d.Revisions {
		l.Revisions = append(l.Revisions, revisionLine{
			Number: v.Number, At: stamp{v.At}, Actor: v.Actor, Header: v.Header, Body: some(v.Body),
		})
	}
	return l
}

// some is a body that is not null in JSON.
func some(body []byte) []byte {
	if body == nil {
		return []byte{}
	}
	return body
}

// dossier is the letter of a line.
func (l line) dossier() store.Dossier {
	d := store.Dossier{Letter: store.Letter{
		Envelope: driver.Envelope{
			ID: l.ID, Kind: l.Kind, Queue: l.Queue, Header: l.Header, Body: l.Body, Priority: l.Priority,
			Attempt: l.Attempt, SentAt: l.SentAt.Time,
		},
		Reason: l.Reason, Class: driver.Class(l.Class), Error: l.Error, Deliveries: l.Deliveries, Crashes: l.Crashes,
		DiedAt: l.DiedAt.Time, Revision: l.Revision, Fingerprint: l.Group, ErrorType: l.ErrorType, Build: l.Build,
	}}
	if l.Discarded != nil {
		d.Discarded = l.Discarded.Time
	}
	for _, a := range l.Attempts {
		d.Attempts = append(d.Attempts, driver.Attempt{
			Number: a.Number, Worker: a.Worker, Started: a.Started.Time,
			Duration: time.Duration(a.Duration) * time.Microsecond, Class: driver.Class(a.Class), Error: a.Error,
			Stack: a.Stack, Build: a.Build,
		})
	}
	for _, v := range l.Revisions {
		d.Revisions = append(d.Revisions, store.Revision{
			Number: v.Number, At: v.At.Time, Actor: v.Actor, Header: v.Header, Body: v.Body,
		})
	}
	return d
}

// Decode reads one line that Export has written, and checks it against the rules of a
// store that takes bodies of so many bytes.
func Decode(text []byte, maxBody int) (store.Dossier, error) {
	if !utf8.Valid(text) {
		return store.Dossier{}, errors.New("it is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	var l line
	if err := dec.Decode(&l); err != nil {
		return store.Dossier{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return store.Dossier{}, errors.New("something follows the object")
	}
	if err := l.check(maxBody); err != nil {
		return store.Dossier{}, err
	}
	return l.dossier(), nil
}

// Bounds of the columns.
const (
	maxWord   = 64
	maxNumber = 1<<31 - 1
	maxMicros = int64(time.Duration(1<<63-1) / time.Microsecond)
)

// check refuses what a store could not keep as it is.
func (l line) check(maxBody int) error {
	if l.Format != Format {
		return fmt.Errorf("its format is %q, want %q", l.Format, Format)
	}
	if l.SentAt.IsZero() || l.DiedAt.IsZero() || l.Body == nil {
		return errors.New("sent_at, died_at or body is missing")
	}
	d := l.dossier()
	err := cmp.Or(d.Check(maxBody), numbers(l.Attempt, l.Deliveries, l.Crashes, l.Revision),
		texts(maxWord, l.Reason, l.Class, l.Group), texts(driver.MaxName, l.ErrorType, l.Build),
		texts(driver.MaxAttemptError, l.Error))
	for _, a := range l.Attempts {
		if a.Duration < 0 || a.Duration > maxMicros {
			return fmt.Errorf("duration_us %d is out of range", a.Duration)
		}
		err = cmp.Or(err, numbers(a.Number), texts(driver.MaxName, a.Worker, a.Build), texts(maxWord, a.Class),
			texts(driver.MaxAttemptError, a.Error), texts(driver.MaxAttemptStack, a.Stack))
	}
	last := 0
	for _, v := range l.Revisions {
		if v.Number <= last || v.Body == nil {
			return fmt.Errorf("revision %d is out of order, or has no body", v.Number)
		}
		last = v.Number
		old := d.Envelope
		old.Header, old.Body = v.Header, v.Body
		err = cmp.Or(err, old.Check(maxBody), numbers(v.Number), texts(store.MaxActor, v.Actor))
	}
	return err
}

func numbers(ns ...int) error {
	for _, n := range ns {
		if n < 0 || n > maxNumber {
			return fmt.Errorf("the count %d is out of range", n)
		}
	}
	return nil
}

func texts(limit int, ts ...string) error {
	for _, t := range ts {
		if len(t) > limit || bytes.IndexByte([]byte(t), 0) >= 0 {
			return fmt.Errorf("a text has more than %d bytes, or a zero byte", limit)
		}
	}
	return nil
}
