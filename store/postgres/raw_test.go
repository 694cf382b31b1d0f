package postgres_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
)

// What a raw transaction fails with when its connection is lost says nothing of a
// database, and may as well come from elsewhere: the connection itself has to be asked.
func TestARawTransactionThatLosesItsConnectionIsNoFailureOfItsHandler(t *testing.T) {
	server := testserver.PostgreSQL(t, testserver.Options{})
	s := openStore(t, server.DSN(server.Superuser(), "postgres"), store.Options{})
	for _, id := range []string{"a", "b"} {
		if err := send(t, s, id); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(context.Context, driver.Tx) error { return io.ErrUnexpectedEOF } // of some service
	err := outcomeOf(t, s, driver.Unit{Alone: true, Timeout: patience, Effect: ask})
	if !errors.Is(err, io.ErrUnexpectedEOF) || s.Classify(err) == driver.ClassTransient {
		t.Errorf("the handler failed by itself, and it is the store's fault: %v", err)
	}
	lose := func(ctx context.Context, tx driver.Tx) error {
		var killing sync.WaitGroup
		defer killing.Wait()
		killing.Go(func() {
			for asleep := "0"; asleep == "0" && ctx.Err() == nil; {
				asleep = text(t, s.DB(), "select count(*) from pg_stat_activity where wait_event = 'PgSleep'")
			}
			if err := server.Kill(); err != nil {
				t.Error(err)
			}
		})
		if _, err := tx.SQL().ExecContext(ctx, "select pg_sleep(60)"); err == nil {
			return nil
		}
		return io.ErrUnexpectedEOF // what the driver says at times
	}
	err = outcomeOf(t, s, driver.Unit{Alone: true, Timeout: patience, Effect: lose})
	if err == nil || s.Classify(err) != driver.ClassTransient {
		t.Errorf("the connection was lost, and it is the handler's fault: %v", err)
	}
}
