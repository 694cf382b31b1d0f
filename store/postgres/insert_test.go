package postgres_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// Whatever one of those that are sent together differs in from the others, each is kept as it was sent.
func TestMessagesThatAreSentTogetherAreKeptAsTheyAre(t *testing.T) {
	t.Parallel()
	s := openStore(t, servers.PostgreSQL(t).DSN(), store.Options{})
	soon := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	for what, change := range map[string]func(*driver.Envelope){
		"nothing":  func(*driver.Envelope) {},
		"kind":     func(e *driver.Envelope) { e.Kind = "other" },
		"queue":    func(e *driver.Envelope) { e.Queue = "aside" },
		"priority": func(e *driver.Envelope) { e.Priority = -3 },
		"attempt":  func(e *driver.Envelope) { e.Attempt = 4 },
		"delay":    func(e *driver.Envelope) { e.Delay = time.Hour },
		"time":     func(e *driver.Envelope) { e.NotBefore = soon },
		"header":   func(e *driver.Envelope) { e.Header = map[string]string{"a": "c"} },
		"none":     func(e *driver.Envelope) { e.Header = nil },
	} {
		for changed := range 3 {
			together(t, s, fmt.Sprintf("%s-%d", what, changed), one(changed, change))
		}
		together(t, s, what+"-all", func(_ int, e *driver.Envelope) { change(e) })
		alone(t, s, what+"-alone", change)
	}
}

// one is a change of one message.
func one(n int, change func(*driver.Envelope)) func(int, *driver.Envelope) {
	return func(i int, e *driver.Envelope) {
		if i == n {
			change(e)
		}
	}
}

// together sends three messages that are alike but for what is changed of some.
func together(t *testing.T, s *store.Store, name string, change func(int, *driver.Envelope)) {
	t.Helper()
	fresh(t, s, make([]driver.Envelope, 3), func(i int, e *driver.Envelope) {
		e.ID = fmt.Sprint(name, "-", i)
		change(i, e)
	})
}

// alone sends one message.
func alone(t *testing.T, s *store.Store, name string, change func(*driver.Envelope)) {
	t.Helper()
	fresh(t, s, make([]driver.Envelope, 1), func(_ int, e *driver.Envelope) {
		e.ID = name
		change(e)
	})
}

// fresh fills messages, sends them, and looks at each.
func fresh(t *testing.T, s *store.Store, envs []driver.Envelope, change func(int, *driver.Envelope)) {
	t.Helper()
	for i := range envs {
		envs[i] = driver.Envelope{
			Kind: "k", Queue: "q", Priority: 5, Attempt: 1,
			Header: map[string]string{"a": "b"}, Body: fmt.Append(nil, "body ", i),
		}
		change(i, &envs[i])
	}
	if err := s.Send(t.Context(), envs...); err != nil {
		t.Fatal(err)
	}
	for _, e := range envs {
		kept(t, s, e)
	}
}

// kept makes sure that a message is in the store as it was sent.
func kept(t *testing.T, s *store.Store, e driver.Envelope) {
	t.Helper()
	p, err := s.Find(t.Context(), e.ID)
	if err != nil || p == nil {
		t.Fatalf("message %s: %v, %v", e.ID, p, err)
	}
	if p.Kind != e.Kind || p.Queue != e.Queue || p.Priority != e.Priority || p.Attempt != e.Attempt ||
		string(p.Body) != string(e.Body) || !maps.Equal(p.Header, e.Header) {
		t.Errorf("message %s is %+v, want %+v", e.ID, p.Envelope, e)
	}
	place := store.PlaceReady
	if e.Delay > 0 || !e.NotBefore.IsZero() {
		place = store.PlaceDelayed
	}
	if p.Place != place || !e.NotBefore.IsZero() && !p.Due.Equal(e.NotBefore) {
		t.Errorf("message %s is %s, due %s, want it %s, %s", e.ID, p.Place, p.Due, place, e.NotBefore)
	}
}

// A message whose time has come leaves the index of delayed ones. One that a worker of an older version has left
// there is delivered like any other, and keeps nobody awake.
func TestWhatIsDueIsNotAmongTheDelayed(t *testing.T) {
	t.Parallel()
	s := openStore(t, servers.PostgreSQL(t).DSN(), store.Options{})
	e := driver.Envelope{ID: "soon", Kind: "k", Queue: "q", Delay: time.Millisecond, Body: []byte("{}")}
	if err := s.Send(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	c, _ := claimSome(t, s, nil)
	ds, err := c.Receive(t.Context(), 1)
	if err != nil || len(ds) != 1 {
		t.Fatalf("received %v, %v", ds, err)
	}
	if n := text(t, s.DB(), "select count(*)::text from posthorn_message where delayed"); n != "0" {
		t.Errorf("%s messages stand among the delayed", n)
	}
	e.ID, e.Delay = "left", 0
	if err := s.Send(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	const older = "update posthorn_message set delayed = true where id = 'left'"
	if _, err := s.DB().ExecContext(t.Context(), older); err != nil {
		t.Fatal(err)
	}
	if wake := text(t, s.DB(), "select coalesce(("+s.SQL.NextWake+")::text, '')"); wake != "" {
		t.Errorf("the next one is due at %s", wake)
	}
	if ds, err = c.Receive(t.Context(), 1); err != nil || len(ds) != 1 || ds[0].ID != "left" {
		t.Errorf("received %v, %v", ds, err)
	}
}
