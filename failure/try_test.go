package failure_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/internal/witness"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/worker"
)

// act is a message whose handler does what the test says.
type act struct {
	Do string

	Secret witness.Hidden `json:"secret"`
}

// Kind names it.
func (act) Kind() string { return "act" }

// A stage is a store with handlers of every sort.
type stage struct {
	*testing.T
	store  *store.Store
	o      failure.TryOptions
	slowly bool // the slow part has run
}

func newStage(t *testing.T, s *store.Store) *stage {
	t.Helper()
	if _, err := s.DB().ExecContext(t.Context(), "create table app_row (id varchar(40) primary key)"); err != nil {
		t.Fatal(err)
	}
	d, err := posthorn.NewDispatcher(s, posthorn.DispatcherOptions{Queue: "q"})
	try(t, err)
	g := &stage{T: t, store: s, o: failure.TryOptions{Mux: posthorn.NewMux(), Dispatcher: d}}
	posthorn.HandleTx(g.o.Mux, func(ctx context.Context, tx *posthorn.Tx, a act) error { return g.do(ctx, tx, a.Do) },
		posthorn.WithTimeout(5*time.Second))
	posthorn.HandleTx(g.o.Mux, func(ctx context.Context, tx *posthorn.Tx, _ rawAct) error {
		_, err := tx.SQL().ExecContext(ctx, "insert into app_row values ('raw')")
		return errors.Join(err, tx.SQL().Commit())
	}, posthorn.WithRawTx())
	posthorn.Handle(g.o.Mux, func(context.Context, plainAct) error { panic("it was run") })
	posthorn.HandleEffect(g.o.Mux, func(ctx context.Context, _ slowAct) (posthorn.Effect, error) {
		g.slowly = true
		_, err := d.Dispatch(ctx, act{Do: "anything"})
		return func(ctx context.Context, tx *posthorn.Tx) error { return g.do(ctx, tx, "insert") }, err
	})
	return g
}

// rawAct is for a handler with the raw transaction.
type rawAct struct{}

// plainAct is for one without any.
type plainAct struct{}

// slowAct is for one with a slow part.
type slowAct struct{}

// Kind names it.
func (rawAct) Kind() string { return "raw" }

// Kind names it.
func (plainAct) Kind() string { return "plain" }

// Kind names it.
func (slowAct) Kind() string { return "slow" }

// do is the handler. It inserts two rows first.
func (g *stage) do(ctx context.Context, tx *posthorn.Tx, what string) error {
	_, err := tx.ExecContext(ctx, "insert into app_row values ('one'), ('two')")
	if err != nil {
		return err
	}
	switch what {
	case "insert":
		_, err = tx.Dispatch(ctx, act{Do: "later"}, posthorn.WithID("later"))
		return errors.Join(err, tx.Queue(ctx, "delete from app_row where id = 'two'"))
	case "clash":
		_, err := tx.ExecContext(ctx, "insert into app_row values ('one')")
		return err
	case "outside":
		_, err = g.o.Dispatcher.Dispatch(ctx, act{Do: "x"}, posthorn.WithID("outside"))
		return errors.Join(err, errors.New("boo"))
	case "panic":
		panic("boo")
	case "hang":
		<-ctx.Done()
		return nil
	}
	_, _ = tx.ExecContext(ctx, what) // and its error is swallowed
	return nil
}

// sum is everything in the database but the audit.
func (g *stage) sum() string {
	g.Helper()
	var out strings.Builder
	for _, table := range []string{"app_row", "posthorn_message", "posthorn_letter", "posthorn_attempt",
		"posthorn_revision", "posthorn_worker"} {
		rows, err := g.store.DB().QueryContext(g.Context(), "select * from "+table+" order by 1")
		try(g, err)
		names, err := rows.Columns()
		try(g, err)
		for rows.Next() {
			cells := make([]any, len(names))
			for i := range cells {
				cells[i] = new(sql.RawBytes)
			}
			try(g, rows.Scan(cells...))
			fmt.Fprintf(&out, "%s %q\n", table, cells)
		}
		try(g, errors.Join(rows.Err(), rows.Close()))
	}
	return out.String()
}

func TestATrialTellsWhatTheHandlerWouldDoAndKeepsNothing(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		g := newStage(t, s)
		for i, c := range []struct {
			do            string
			class         driver.Class
			is            error
			sent, outside int
			rows          int64
		}{
			{do: "insert", sent: 1, rows: 3},
			{do: "nothing"}, // is no statement; two rows, or an aborted transaction
			{do: "clash", class: driver.ClassFailure},
			{do: "outside", class: driver.ClassFailure, outside: 1},
			{do: "panic", class: driver.ClassPanic},
			{do: "commit", class: driver.ClassFailure, is: driver.ErrTxRefused},
			{do: "create table own (i int)", class: driver.ClassFailure},
			{do: "delete from posthorn_letter", class: driver.ClassFailure, is: driver.ErrTxRefused},
		} {
			l := bury(t, s, driver.Envelope{
				ID: fmt.Sprint("m", i), Kind: "act", Body: fmt.Appendf(nil, `{"Do":%q}`, c.do),
			})
			before := g.sum()
			got, err := failure.Try(t.Context(), s, *l, g.o)
			try(t, err)
			if after := g.sum(); after != before {
				t.Errorf("%s: the database is\n%s\nand was\n%s", c.do, after, before)
			}
			// Where the database undoes tables, too, they are allowed.
			free := c.do == "nothing" || s.Dialect() != "mysql" && strings.HasPrefix(c.do, "create")
			if !free && (got.Class != c.class || c.is != nil && !errors.Is(got.Err, c.is)) || got.Refused != nil ||
				len(got.Sent) != c.sent || len(got.Outside) != c.outside || c.rows > 0 && got.Rows != c.rows {
				t.Errorf("%s: %+v", c.do, got)
			}
			if got.Err != nil && !got.Differs {
				t.Errorf("%s: the error is taken for the old one: %v", c.do, got.Err)
			}
		}
		if _, err := s.DB().ExecContext(t.Context(), "select * from own"); err == nil {
			t.Error("a table stays")
		}
		acts, err := s.Acts(t.Context(), store.ActFilter{Verb: store.VerbTry})
		if try(t, err); len(acts) != 8 || acts[7].Subject != "m0" {
			t.Errorf("acts %+v", acts)
		}
	})
}

func TestWhatCannotBeUndoneIsNotTried(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		g := newStage(t, s)
		try := func(kind string) failure.Trial {
			t.Helper()
			l := bury(t, s, driver.Envelope{ID: kind, Kind: kind, Body: []byte(`{}`)})
			before := g.sum()
			got, err := failure.Try(t.Context(), s, *l, g.o)
			if err != nil || g.sum() != before {
				t.Errorf("%s: %v, the database is\n%s\nand was\n%s", kind, err, g.sum(), before)
			}
			return got
		}
		for kind, want := range map[string]error{
			"plain": failure.ErrNotTransactional, "unknown": failure.ErrUncheckable, "slow": failure.ErrSlowPart,
		} {
			if got := try(kind); !errors.Is(got.Refused, want) || g.slowly {
				t.Errorf("%s: %+v, want %v", kind, got, want)
			}
		}
		g.o.SlowPart = true
		l, err := s.Letters(t.Context(), store.LetterFilter{IDs: []string{"slow"}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := failure.Try(t.Context(), s, l[0], g.o)
		if err != nil || got.Err != nil || !g.slowly || len(got.Outside) != 1 || len(got.Sent) != 1 || got.Rows != 3 {
			t.Errorf("with its slow part: %+v, %v", got, err)
		}
		raw := try("raw")
		if mysql := s.Dialect() == "mysql"; mysql != errors.Is(raw.Refused, store.ErrNoTrial) || !mysql && raw.Err == nil {
			t.Errorf("a handler that commits by the raw transaction: %+v", raw)
		}
	})
}

// A worker and a trial fail by the same road, so that their fingerprints are equal
// whatever differs between the texts of their errors.
func TestAnErrorOfTheFaultThatTheLetterDiedOfIsSaidToBe(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		g := newStage(t, s)
		g.die("panic", "clash")
		ls, err := s.Letters(t.Context(), store.LetterFilter{})
		if try(t, err); len(ls) != 2 {
			t.Fatalf("%d letters", len(ls))
		}
		for _, l := range ls {
			l.Error += " and other words"
			got, err := failure.Try(t.Context(), s, l, g.o)
			if try(t, err); got.Err == nil || got.Differs || got.Fingerprint != l.Fingerprint {
				t.Errorf("%s: %v of %q differs from %q", l.ID, got.Err, got.Fingerprint, l.Fingerprint)
			}
			l.Fingerprint = "0123456789abcdef"
			if got, err = failure.Try(t.Context(), s, l, g.o); err != nil || !got.Differs {
				t.Errorf("%s: the fault is taken for another: %v", l.ID, err)
			}
			l.Fingerprint = "" // it was left by an older version
			if got, err = failure.Try(t.Context(), s, l, g.o); err != nil || !got.Differs {
				t.Errorf("%s: other words are taken for the same: %v", l.ID, err)
			}
			l.Error = got.Err.Error()
			if got, err = failure.Try(t.Context(), s, l, g.o); err != nil || got.Differs {
				t.Errorf("%s: the same words differ: %v", l.ID, err)
			}
		}
	})
}

// die lets a worker handle messages that fail.
func (g *stage) die(dos ...string) {
	g.Helper()
	for _, do := range dos {
		env := driver.Envelope{ID: do, Kind: "act", Queue: "q", Body: fmt.Appendf(nil, `{"Do":%q}`, do)}
		try(g, g.store.Send(g.Context(), env))
	}
	w, err := worker.New(g.store, g.o.Mux, worker.Options{
		Queues: []string{"q"}, Limits: worker.Limits{Messages: len(dos)},
		Retry: posthorn.RetryPolicy{MaxRetries: posthorn.NoRetry},
	})
	try(g, err)
	try(g, w.Run(g.Context()))
}

// That nobody waits any longer is no fault of the handler's, in neither of its parts.
func TestATrialThatIsCutShortSaysNothingOfTheHandler(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		g := newStage(t, s)
		hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		g.o.Mux, g.o.SlowPart = posthorn.NewMux(), true
		posthorn.HandleTx(g.o.Mux, func(ctx context.Context, _ *posthorn.Tx, _ act) error { return hang(ctx) })
		posthorn.HandleEffect(g.o.Mux, func(ctx context.Context, _ slowAct) (posthorn.Effect, error) {
			return nil, hang(ctx)
		})
		for _, kind := range []string{"act", "slow"} {
			l := bury(t, s, driver.Envelope{ID: kind, Kind: kind, Body: []byte(`{}`)})
			before := g.sum()
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			got, err := failure.Try(ctx, s, *l, g.o)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || got.Err != nil || g.sum() != before {
				t.Errorf("%s: %+v, %v", kind, got, err)
			}
		}
		acts, err := s.Acts(t.Context(), store.ActFilter{Verb: store.VerbTry})
		try(t, err)
		if len(acts) != 1 || acts[0].Became != "nobody waited for its end" ||
			!slices.Equal(acts[0].Messages, []string{"act"}) {
			t.Errorf("what is kept of the transaction is %+v", acts)
		}
	})
}
