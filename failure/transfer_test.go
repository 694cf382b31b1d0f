package failure_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/store"
)

// bury sends a message, and buries it after an attempt.
func bury(t *testing.T, s *store.Store, e driver.Envelope) *store.Letter {
	t.Helper()
	if e.Queue == "" {
		e.Queue = "q"
	}
	if e.Kind == "" {
		e.Kind = "k"
	}
	c, err := s.Consume(t.Context(), driver.Subscription{Queues: []string{e.Queue}, Lease: time.Minute, Worker: "w"})
	try(t, err)
	defer func() { _ = c.Close() }()
	try(t, s.Send(t.Context(), e))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ds, err := c.Receive(ctx, 1)
	try(t, err)
	try(t, c.Settle(t.Context(), driver.Settlement{
		Delivery: ds[0], Verdict: driver.Bury, Reason: driver.ReasonRejected,
		Attempt: &driver.Attempt{
			Number: 1, Worker: "w", Started: time.Now(), Duration: 1234567 * time.Nanosecond, Class: driver.ClassPanic,
			Error: "no <such> \u2028 \u202e\x1b[2J user", Stack: "at\n\tx", Build: "v1",
		},
	}))
	p, err := s.Find(t.Context(), e.ID)
	try(t, err)
	return p.Letter
}

// mortuary fills a store with letters of every sort, and returns where they are.
func mortuary(t *testing.T, s *store.Store) (all []int64) {
	t.Helper()
	ctx := store.Acting(t.Context(), store.Act{Actor: "ann"})
	for i, body := range [][]byte{[]byte(`{"a":1}`), {}, {0, 255, 254, '\n'}, []byte(strings.Repeat("x", 70_000))} {
		l := bury(t, s, driver.Envelope{
			ID: fmt.Sprint("m", i), Body: body, Priority: i - 2, Header: map[string]string{"z": "\x1b<&>", "a": ""},
		})
		all = append(all, l.Seq)
	}
	try(t, s.EditLetter(ctx, store.Edit{Seq: all[0], Body: []byte("two\xff"), Header: map[string]string{"n": "1"}}))
	try(t, s.EditLetter(ctx, store.Edit{Seq: all[0], Revision: 1, Body: []byte("three")}))
	_, err := s.RemoveLetters(ctx, all[1])
	try(t, err)
	all = append(all, bury(t, s, driver.Envelope{ID: "m1", Body: []byte("dies again")}).Seq)
	_, err = s.RemoveLetters(ctx, all[4])
	try(t, err)
	return all
}

// export is all that a store has.
func export(t *testing.T, s *store.Store) string {
	t.Helper()
	var b bytes.Buffer
	for _, discarded := range []bool{false, true} {
		_, err := failure.Export(t.Context(), s, store.LetterFilter{Discarded: discarded}, &b)
		try(t, err)
	}
	return b.String()
}

func TestLettersTravelByteForByteThroughEachStoreAndBetweenThem(t *testing.T) {
	t.Parallel()
	first := open(t, "SQLite", store.Options{})
	mortuary(t, first)
	want := export(t, first)
	if n := strings.Count(want, "\n"); n != 5 || strings.ContainsAny(want, "\x1b\u2028") {
		t.Fatalf("exported %d lines: %q", n, want)
	}
	for _, kind := range kinds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := open(t, kind, store.Options{})
			own := mortuary(t, s)
			mine := export(t, s)
			purge(t, s, own)
			for _, file := range []string{mine, want} {
				roundTrip(t, s, file)
				purge(t, s, seqsOf(t, s))
			}
		})
	}
}

// roundTrip imports a file and exports it again.
func roundTrip(t *testing.T, s *store.Store, file string) {
	t.Helper()
	done, err := failure.Import(t.Context(), s, strings.NewReader(file), failure.ImportOptions{})
	if try(t, err); done.Letters != 5 {
		t.Errorf("imported %+v", done)
	}
	if got := export(t, s); got != file {
		t.Errorf("exported\n%s\nwant\n%s", got, file)
	}
	acts, err := s.Acts(t.Context(), store.ActFilter{Verb: store.VerbImport})
	if try(t, err); acts[0].Count != 5 {
		t.Errorf("acts %+v", acts)
	}
}

func purge(t *testing.T, s *store.Store, seqs []int64) {
	t.Helper()
	n, err := s.PurgeLetters(t.Context(), seqs...)
	if try(t, err); n != len(seqs) || export(t, s) != "" {
		t.Errorf("purged %d of %d", n, len(seqs))
	}
}

func seqsOf(t *testing.T, s *store.Store) (seqs []int64) {
	t.Helper()
	for _, discarded := range []bool{false, true} {
		ls, err := s.Letters(t.Context(), store.LetterFilter{Discarded: discarded})
		try(t, err)
		for _, l := range ls {
			seqs = append(seqs, l.Seq)
		}
	}
	return seqs
}

func TestAnImportIsRefusedWholeAndNamesTheLine(t *testing.T) {
	t.Parallel()
	s := open(t, "SQLite", store.Options{})
	seqs := mortuary(t, s)
	lines := strings.SplitAfter(export(t, s), "\n")
	purge(t, s, seqs)
	for name, c := range map[string]struct {
		file string
		line int
		is   error
	}{
		"no JSON":         {lines[0] + "\nnonsense\n", 3, nil},
		"another format":  {lines[0] + strings.Replace(lines[1], failure.Format, "posthorn-letter/9", 1), 2, nil},
		"an unknown key":  {strings.Replace(lines[0], `"kind"`, `"Knid"`, 1), 1, nil},
		"a bad id":        {strings.Replace(lines[0], `"m0"`, `"m 0"`, 1), 1, driver.ErrInvalid},
		"the same letter": {lines[0] + lines[1] + lines[0], 3, driver.ErrDuplicate},
		"two in a line":   {strings.TrimSuffix(lines[0], "\n") + lines[1], 1, nil},
		"cut off":         {lines[0] + lines[1][:40], 2, nil},
	} {
		done, err := failure.Import(t.Context(), s, strings.NewReader(c.file), failure.ImportOptions{})
		var at *failure.LineError
		if !errors.As(err, &at) || at.Line != c.line || c.is != nil && !errors.Is(err, c.is) || done.Letters != 0 {
			t.Errorf("%s: %v, imported %+v", name, err, done)
		}
	}
	if got := export(t, s); got != "" {
		t.Errorf("something was added: %s", got)
	}
}

func TestAnImportTouchesNoIdThatIsTaken(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		mortuary(t, s)
		file := export(t, s)
		_, err := s.RetryLetters(t.Context(), seqsOf(t, s)[0]) // it lives
		try(t, err)
		before := export(t, s)
		_, err = failure.Import(t.Context(), s, strings.NewReader(file), failure.ImportOptions{})
		if !errors.Is(err, driver.ErrDuplicate) || !strings.HasPrefix(err.Error(), "line 1: ") {
			t.Errorf("error is %v", err)
		}
		done, err := failure.Import(t.Context(), s, strings.NewReader(file), failure.ImportOptions{SkipExisting: true})
		if try(t, err); done.Letters != 0 || done.Skipped != 5 || export(t, s) != before {
			t.Errorf("with --skip-existing: %+v", done)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"format":"posthorn-letter/1","id":"a","kind":"k","queue":"q","priority":0,"attempt":0,"deliveries":1,` +
		`"crashes":0,"sent_at":"2026-01-02T03:04:05.678Z","died_at":"2026-01-02T03:04:05.678Z","reason":"r","class":"c",` +
		`"error":"","fingerprint":"","error_type":"","build":"1","body":"AA==","revision":1,` +
		`"attempts":[{"number":1,"worker":"w","started_at":"1970-01-01T00:00:00.000Z","duration_us":5,"class":"c","error":"","stack":""}],"revisions":[` +
		`{"number":1,"at":"2026-01-02T03:04:05.678Z","actor":"","body":""}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		d, err := failure.Decode([]byte(text), 0)
		if err != nil {
			return
		}
		b, err := failure.Encode(d)
		try(t, err)
		again, err := failure.Decode(b, 0)
		if err != nil || !reflect.DeepEqual(d, again) {
			t.Errorf("%q is read as %+v, and then as %+v, %v", text, d, again, err)
		}
	})
}
