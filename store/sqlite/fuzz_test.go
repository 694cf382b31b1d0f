package sqlite_test

import (
	"bytes"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
)

// An envelope comes out as it went in, or is refused by the rule that every transport has.
func FuzzAnEnvelopeComesBackOrIsRefused(f *testing.F) {
	f.Add("id", "kind", "queue", "key", "value", []byte("body"), 0)
	f.Add("", "k", "q", "", "", []byte(nil), 1)
	f.Add("a\x00b", "k", "q", "k\n", "\xff", []byte("\x00\xff"), -9)
	f.Add("é", "K.v-1", "Q_1", "x", "\u202e", []byte("{"), 1<<20)
	f.Add("x ", "k ", " q", "traceparent", "00-1-2-3", []byte{}, 9)
	s := openForFuzz(f)
	f.Fuzz(func(t *testing.T, id, kind, queue, key, value string, body []byte, priority int) {
		e := driver.Envelope{ID: id, Kind: kind, Queue: queue, Header: map[string]string{key: value}, Body: body,
			Priority: priority}
		refused, err := e.Check(s.Capabilities().MaxBody), s.Send(t.Context(), e)
		if (refused == nil) != (err == nil) {
			t.Fatalf("%+v: checked %v, sent %v", e, refused, err)
		}
		if err != nil {
			return
		}
		c, err := s.Consume(t.Context(), driver.Subscription{Queues: []string{queue}, Lease: patience})
		if err != nil {
			t.Fatal(err)
		}
		ds, err := c.Receive(t.Context(), 1)
		if err != nil || len(ds) != 1 {
			t.Fatalf("%+v, %v", ds, err)
		}
		d := ds[0]
		if d.ID != id || d.Kind != kind || d.Queue != queue || !maps.Equal(d.Header, e.Header) || d.Priority != priority ||
			!bytes.Equal(d.Body, body) {
			t.Fatalf("%+v came back as %+v", e, d.Envelope)
		}
		done := driver.Settlement{Delivery: d, Verdict: driver.Ack}
		if err := errors.Join(c.Settle(t.Context(), done), c.Close()); err != nil {
			t.Fatal(err)
		}
	})
}

// A filter is compared, never run: whatever its text, it finds what has that very text.
func FuzzAFilterFindsWhatItSays(f *testing.F) {
	for _, s := range []string{"q", "'", `" or 1=1 --`, "%", "_", "\x00", "\xff", "mail' union select 1--", "Q"} {
		f.Add(s, s)
	}
	s := openForFuzz(f)
	f.Fuzz(func(t *testing.T, text, other string) {
		for _, filter := range []store.LetterFilter{
			{Queue: text}, {Kind: text}, {Reason: text}, {Class: text}, {IDs: []string{text, other}},
			{Queue: text, Kind: other, Reason: text, Class: other, IDs: []string{other}, Discarded: text < other},
		} {
			ls, err := s.Letters(t.Context(), filter)
			if err != nil {
				t.Fatalf("%+v: %v", filter, err)
			}
			if len(ls) > 0 && !fits(filter, ls[0]) {
				t.Fatalf("%+v finds %+v", filter, ls[0])
			}
		}
	})
}

// fits reports whether a letter is what a filter says.
func fits(f store.LetterFilter, l store.Letter) bool {
	return (f.Queue == "" || f.Queue == l.Queue) && (f.Kind == "" || f.Kind == l.Kind) &&
		(f.Reason == "" || f.Reason == l.Reason) && (f.Class == "" || f.Class == string(l.Class)) &&
		(f.IDs == nil || slices.Contains(f.IDs, l.ID))
}

// openForFuzz is a store with one dead letter.
func openForFuzz(f *testing.F) *store.Store {
	f.Helper()
	s, err := sqlite.Open(f.Context(), "sqlite:"+filepath.Join(f.TempDir(), "store.db"), store.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	c, err := s.Consume(f.Context(), driver.Subscription{Queues: []string{"q"}, Lease: patience})
	if err == nil {
		err = s.Send(f.Context(), envelope("q"))
	}
	var ds []driver.Delivery
	if err == nil {
		ds, err = c.Receive(f.Context(), 1)
	}
	if err == nil {
		err = c.Settle(f.Context(), driver.Settlement{Delivery: ds[0], Verdict: driver.Bury, Reason: "q"})
	}
	if err := errors.Join(err, c.Close()); err != nil {
		f.Fatal(err)
	}
	return s
}
