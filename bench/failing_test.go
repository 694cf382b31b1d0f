package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
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

func TestThePageDrawsTheCurveOfFailingMessages(t *testing.T) {
	d := document{Stores: []shownStore{{Name: "sqlite", Title: "SQLite"}, {Name: "postgres", Title: "PostgreSQL"}}}
	for round, rates := range map[int][]float64{1: {100, 90, 50, 25}, 2: {400, 360, 200, 80}} {
		r := result{Round: round, Work: "failing", subject: subject{"sqlite", ours}, Figures: map[string]float64{}}
		for i, percent := range failingShares() {
			r.Figures[fmt.Sprintf("p%d", percent)] = rates[i]
		}
		d.results = append(d.results, r)
	}
	dir := t.TempDir()
	if err := d.writePage(dir); err != nil {
		t.Fatal(err)
	}
	page, err1 := os.ReadFile(filepath.Join(dir, pageName))
	plot, err2 := os.ReadFile(filepath.Join(dir, failingName))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "]("+failingName+")") {
		t.Error("the page does not show the plot")
	}
	// The median of the rounds' ratios at 50 % is 22.5 %; the other store was not measured.
	for _, want := range []string{`points="60,40.0 200,62.0 340,150.0 480,210.5"`, ">SQLite, 22 %<"} {
		if !strings.Contains(string(plot), want) {
			t.Errorf("the plot lacks %q:\n%s", want, plot)
		}
	}
	if strings.Contains(string(plot), "PostgreSQL") {
		t.Error("the plot has a curve of what was not measured")
	}
}
