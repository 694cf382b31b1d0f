package api_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/failure/api"
	"github.com/posthorn/posthorn/failure/view"
	"github.com/posthorn/posthorn/store"
)

// A program that serves its handlers lets them be tried: nothing of it stays.
func TestALetterIsTriedAndNothingStays(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"SQLite", "PostgreSQL", "MariaDB"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := open(t, kind)
			_, err := s.DB().ExecContext(t.Context(), "create table tried (n integer)")
			try(t, err)
			d, err := posthorn.NewDispatcher(s, posthorn.DispatcherOptions{Queue: "q"})
			try(t, err)
			v := serveBy(t, s, tried(), d)
			bury(t, s, `{"To":"x"}`, "good")
			bury(t, s, `{"To":"nowhere"}`, "bad")
			bury(t, s, `{}`, "invalid")
			of := func(id string) view.Trial {
				return get[view.Trial](v, ask{path: "POST /v1/letters/" + id + "/try", want: 200})
			}
			got := of("good")
			if got.Outcome != "passed" || got.Rows != 1 || len(got.Sent) != 1 || got.Sent[0].Kind != "parcel" {
				t.Errorf("the good one: %+v", got)
			}
			if got := of("bad"); got.Outcome != "failed" || got.Error != "no such place" || got.Was != hostile || got.Same {
				t.Errorf("the bad one: %+v", got)
			}
			if got := of("invalid"); got.Outcome != "failed" || got.Class != "invalid" {
				t.Errorf("the invalid one: %+v", got)
			}
			v.do(ask{path: "POST /v1/letters/nobody/try", want: 404})
			v.do(ask{path: "POST /v1/letters/good/try?slow=true", want: 400})
			v.nothingStays("good", "bad", "invalid")
		})
	}
}

// tried are handlers of which that of parcels can be undone.
func tried() *posthorn.Mux {
	mux := posthorn.NewMux()
	posthorn.HandleTx(mux, func(ctx context.Context, tx *posthorn.Tx, p parcel) error {
		if _, err := tx.ExecContext(ctx, "insert into tried values (1)"); err != nil {
			return err
		}
		if p.To == "nowhere" {
			return errors.New("no such place")
		}
		_, err := tx.Dispatch(ctx, parcel{To: "y"})
		return err
	})
	return mux
}

// nothingStays checks that letters are dead still, and nothing else is there.
func (v *service) nothingStays(ids ...string) {
	v.Helper()
	rows := 0
	try(v.T, v.store.DB().QueryRowContext(v.Context(), "select count(*) from tried").Scan(&rows))
	ls, err := v.store.Letters(v.Context(), store.LetterFilter{Limit: 10})
	try(v.T, err)
	qs, err := v.store.Stats(v.Context())
	try(v.T, err)
	if rows != 0 || len(ls) != len(ids) || len(qs) != 1 || qs[0].Ready != 0 || qs[0].Dead != int64(len(ids)) {
		v.Errorf("%d rows, %d letters, queues %+v", rows, len(ls), qs)
	}
}

// What cannot be undone is refused, and so is everything where no program serves its
// handlers.
func TestTriesAreRefusedWhereNothingCanBeUndone(t *testing.T) {
	s := open(t, "SQLite")
	bury(t, s, `{"To":"x"}`, "a")
	serve(t, s).do(ask{path: "POST /v1/letters/a/try", want: 501})
	d, err := posthorn.NewDispatcher(s, posthorn.DispatcherOptions{Queue: "q"})
	try(t, err)
	mux := posthorn.NewMux()
	posthorn.Handle(mux, func(context.Context, parcel) error {
		t.Error("the handler ran")
		return nil
	})
	got := get[view.Trial](serveBy(t, s, mux, d), ask{path: "POST /v1/letters/a/try", want: 200})
	if got.Outcome != "refused" || got.Error == "" {
		t.Errorf("the trial is %+v", got)
	}
}

// A handler that takes longer than an answer may is not said to have failed.
func TestATryThatIsNotWaitedForIsNoFailureOfTheHandler(t *testing.T) {
	t.Parallel()
	s := open(t, "SQLite")
	d, err := posthorn.NewDispatcher(s, posthorn.DispatcherOptions{Queue: "q"})
	try(t, err)
	mux := posthorn.NewMux()
	posthorn.HandleTx(mux, func(ctx context.Context, _ *posthorn.Tx, _ parcel) error {
		<-ctx.Done()
		return ctx.Err()
	})
	v := serveWith(t, api.Options{Store: s, Mux: mux, Dispatcher: d}.AnswerWithin(100*time.Millisecond))
	bury(t, s, `{"To":"x"}`, "a")
	got := get[struct{ Code, Detail string }](v, ask{path: "POST /v1/letters/a/try", want: 504})
	if got.Code != "E-TRY-TIMEOUT" || !strings.Contains(got.Detail, "100ms") {
		t.Errorf("the problem is %+v", got)
	}
}
