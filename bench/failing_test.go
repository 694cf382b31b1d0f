package main

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
)

func TestAMessageThatDoesNotFailIsNotToBeCharged(t *testing.T) {
	f := newFaults(10, 100)
	seen := 0
	try := func(n int, d driver.Delivery) error {
		ctx := posthorn.WithDelivery(context.Background(), d, slog.New(slog.DiscardHandler))
		return f.attempt(ctx, newNote(n), func(note) { seen++ })
	}
	if err := try(9, driver.Delivery{Deliveries: 1}); !errors.Is(err, errFault) {
		t.Errorf("the first attempt of a message that fails returned %v", err)
	}
	retried := driver.Delivery{Envelope: driver.Envelope{Attempt: 1}, Deliveries: 2}
	if err := try(9, retried); err != nil || f.charged.Load() != 0 {
		t.Errorf("its retry returned %v, charged %d", err, f.charged.Load())
	}
	for range 2 { // beside a failing neighbour
		if err := try(10, driver.Delivery{Deliveries: 1}); err != nil || f.charged.Load() != 0 {
			t.Errorf("a message that does not fail returned %v, charged %d", err, f.charged.Load())
		}
	}
	if seen != 2 || f.failed.Load() != 1 {
		t.Errorf("%d seen, %d failed, want 2 and 1", seen, f.failed.Load())
	}
	for i, d := range []driver.Delivery{retried, {Deliveries: 2}, {Deliveries: 1, Crashes: 1}} {
		if err := try(11, d); err != nil || f.charged.Load() != int64(i+1) {
			t.Errorf("delivery %+v returned %v, charged %d", d, err, f.charged.Load())
		}
	}
}
