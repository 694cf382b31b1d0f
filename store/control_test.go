package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// everywhere runs a test on a store of each kind.
func everywhere(t *testing.T, test func(t *testing.T, s *store.Store)) {
	t.Helper()
	t.Parallel()
	for name, p := range places(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, p.store(t, ""))
		})
	}
}

// order tells all workers to stop.
func order(t *testing.T, s *store.Store) []driver.WorkerRecord {
	t.Helper()
	ordered, err := s.OrderWorkers(t.Context(), store.WorkerFilter{}, driver.OrderStop)
	try(t, err)
	return ordered
}

// orderError is why nobody can be told to stop.
func orderError(t *testing.T, s *store.Store) error {
	t.Helper()
	_, err := s.OrderWorkers(t.Context(), store.WorkerFilter{}, driver.OrderStop)
	return err
}

// beat writes a worker's row, and says whether it is told to stop.
func beat(t *testing.T, s *store.Store, id, where string) bool {
	t.Helper()
	program, host, _ := strings.Cut(where, "@")
	o, err := s.Heartbeat(t.Context(), driver.WorkerRecord{
		ID: id, Program: program, Host: host, State: "running", Started: time.Now(), Queues: []string{"q"},
	})
	try(t, err)
	return o.Stop
}

func TestAnOrderReachesTheWorkersThatAreMeantAndNoOther(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		beat(t, s, "w1", "mail@a")
		beat(t, s, "w2", "mail@b")
		beat(t, s, "w3", "web@b")
		for _, c := range []struct {
			filter store.WorkerFilter
			want   string
		}{
			{store.WorkerFilter{Program: "none"}, ""},
			{store.WorkerFilter{Program: "mail", Host: "b"}, "w2"},
			{store.WorkerFilter{IDs: []string{"w3", "none"}}, "w3"},
		} {
			ordered, err := s.OrderWorkers(t.Context(), c.filter, driver.OrderStop)
			try(t, err)
			if got := workerIDs(ordered); got != c.want {
				t.Errorf("%+v orders %q, want %q", c.filter, got, c.want)
			}
		}
		for id, want := range map[string]bool{"w1": false, "w2": true, "w3": true, "later": false} {
			if got := beat(t, s, id, "mail@b"); got != want {
				t.Errorf("%s is told to stop: %v, want %v", id, got, want)
			}
		}
		ws, _, err := s.Workers(t.Context())
		try(t, err)
		i := slices.IndexFunc(ws, func(w driver.WorkerRecord) bool { return w.ID == "w2" })
		if ws[i].Told != driver.OrderStop {
			t.Errorf("the list says %+v", ws[i])
		}
		try(t, s.Deregister(t.Context(), "w2"))
		if beat(t, s, "w2", "mail@b") {
			t.Error("a row that was made again has an old order")
		}
		_, err = s.OrderWorkers(t.Context(), store.WorkerFilter{IDs: []string{"w3"}}, driver.OrderNone)
		if try(t, err); beat(t, s, "w3", "web@b") {
			t.Error("an order was taken back, and stands")
		}
	})
}

func workerIDs(ws []driver.WorkerRecord) string {
	var ids []string
	for _, w := range ws {
		ids = append(ids, w.ID)
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

func TestAWorkerThatIsSilentGetsNoOrder(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		beat(t, s, "silent", "mail@a")
		_, err := s.DB().ExecContext(t.Context(), "update posthorn_worker set seen_at = seen_at - 40000")
		if try(t, err); len(order(t, s)) != 0 {
			t.Error("it was told to stop")
		}
		if ws, _, err := s.Workers(t.Context()); len(ws) != 1 || err != nil {
			t.Errorf("listed are %v, %v", ws, err)
		}
	})
}

func TestTheRegistryKeepsLimitsAndWhatIsInHand(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		w := driver.WorkerRecord{
			ID: "w", State: "running", Started: time.Now(),
			Limits: driver.WorkerLimits{Messages: 7, Failures: 2, Time: time.Hour, Memory: 1 << 30},
		}
		for i := range driver.MaxHolds + 3 {
			w.Holds = append(w.Holds, driver.Hold{ID: fmt.Sprint("m", i), Kind: "ключ", Since: time.UnixMilli(5).UTC()})
		}
		_, err := s.Heartbeat(t.Context(), driver.WorkerRecord{ID: "w", State: "new", Started: time.Now(), Limits: w.Limits})
		try(t, err)
		_, err = s.Heartbeat(t.Context(), w)
		try(t, err)
		ws, _, err := s.Workers(t.Context())
		try(t, err)
		if got := ws[0]; got.Limits != w.Limits || !slices.Equal(got.Holds, w.Holds[:driver.MaxHolds]) {
			t.Errorf("registered is %+v", got)
		}
	})
}

func TestADocumentIsChangedByWhoHasReadItLast(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		if d, err := s.Document(ctx, "d"); d.Version != 0 || err != nil {
			t.Fatalf("%+v, %v", d, err)
		}
		if err := s.SaveDocument(ctx, "d", store.Document{Version: 1}); !errors.Is(err, store.ErrConflict) {
			t.Errorf("the successor of nothing: %v", err)
		}
		var saved sync.WaitGroup
		outcomes := make([]error, 8)
		for i := range outcomes {
			saved.Go(func() { outcomes[i] = s.SaveDocument(ctx, "d", store.Document{Body: fmt.Sprint("ä", i)}) })
		}
		saved.Wait()
		winner := onlyOne(t, outcomes)
		d, err := s.Document(ctx, "d")
		if d != (store.Document{Version: 1, Body: fmt.Sprint("ä", winner)}) || err != nil {
			t.Fatalf("%+v, %v, want that of %d", d, err, winner)
		}
		for i := range outcomes {
			saved.Go(func() { outcomes[i] = s.SaveDocument(ctx, "d", store.Document{Version: 1, Body: fmt.Sprint(i)}) })
		}
		saved.Wait()
		winner = onlyOne(t, outcomes)
		if d, err = s.Document(ctx, "d"); d != (store.Document{Version: 2, Body: fmt.Sprint(winner)}) || err != nil {
			t.Errorf("%+v, %v, want that of %d", d, err, winner)
		}
	})
}

// onlyOne makes sure that all but one met a conflict, and returns that one.
func onlyOne(t *testing.T, outcomes []error) int {
	t.Helper()
	winner, won := 0, 0
	for i, err := range outcomes {
		switch {
		case err == nil:
			winner, won = i, won+1
		case !errors.Is(err, store.ErrConflict):
			t.Errorf("%d: %v", i, err)
		}
	}
	if won != 1 {
		t.Fatalf("%d of %d were saved: %v", won, len(outcomes), outcomes)
	}
	return winner
}

func TestADocumentIsBounded(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		for name, c := range map[string]struct {
			name string
			doc  store.Document
			want error
		}{
			"name":  {"", store.Document{}, driver.ErrInvalid},
			"long":  {strings.Repeat("n", 65), store.Document{}, driver.ErrTooLarge},
			"size":  {"d", store.Document{Body: strings.Repeat("x", store.MaxDocument+1)}, driver.ErrTooLarge},
			"zero":  {"d", store.Document{Body: "\x00"}, driver.ErrInvalid},
			"bytes": {"d", store.Document{Body: "\xff"}, driver.ErrInvalid},
			"ok":    {"d", store.Document{Body: strings.Repeat("x", store.MaxDocument)}, nil},
		} {
			if err := s.SaveDocument(t.Context(), c.name, c.doc); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
	})
}

// control walks the statements of pauses and documents.
func control(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := t.Context()
	for range 2 {
		_, err := s.Pause(ctx, store.Pause{Queue: "elsewhere", Reason: "r", Actor: "a"})
		try(t, err)
	}
	ps, _, err := s.Pauses(ctx)
	try(t, err)
	was, err := s.Resume(ctx, "elsewhere")
	if try(t, err); len(ps) != 1 || !was {
		t.Errorf("%d pauses, resumed %v, want 1 and true", len(ps), was)
	}
	d, err := s.Document(ctx, "walk")
	try(t, err)
	for range 2 { // the first time it may be new
		try(t, s.SaveDocument(ctx, "walk", d))
		d.Version++
	}
}
