package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
)

// A server that says nothing, and is there, is waited for as long as a statement of Posthorn's own may take. Then
// nobody knows what it has done, and another connection is taken.
func TestAServerThatSaysNothingIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	server := testserver.PostgreSQL(t, testserver.Options{Volatile: true})
	s := openStore(t, (&testserver.Database{Server: server, Name: "postgres"}).DSN(), store.Options{})
	if err := send(t, s, "before"); err != nil { // the connection is there
		t.Fatal(err)
	}
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	said := make(chan error, 1)
	go func() {
		e := driver.Envelope{ID: "silent", Kind: "k", Queue: "q", SentAt: time.Now()}
		said <- s.Send(context.WithoutCancel(t.Context()), e)
	}()
	var err error
	select {
	case err = <-said:
		if !errors.Is(err, driver.ErrUnavailable) || !errors.Is(err, driver.ErrOutcomeUnknown) {
			t.Errorf("%v, want that the store is unavailable and the outcome unknown", err)
		}
	case <-time.After(patience):
		t.Error("it is waited for still")
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := send(t, s, "after"); err != nil {
		t.Error(err)
	}
}
