package posthorn_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
	"github.com/posthorn/posthorn/transport/memory"
)

func openStore(t *testing.T) *store.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "s.db")+"?synchronous=normal", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func dispatcher(t *testing.T, tr driver.Transport, o posthorn.DispatcherOptions) *posthorn.Dispatcher {
	t.Helper()
	d, err := posthorn.NewDispatcher(tr, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// stored is how many messages wait in the store.
func stored(t *testing.T, s *store.Store) (n int) {
	t.Helper()
	if err := s.DB().QueryRowContext(t.Context(), "select count(*) from posthorn_message").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDispatchRefusesWhatIsWrongAndStoresNothing(t *testing.T) {
	s := openStore(t)
	d := dispatcher(t, s, posthorn.DispatcherOptions{})
	var invalid *posthorn.InvalidError
	if _, err := d.Dispatch(t.Context(), checked{Bad: true}); !errors.As(err, &invalid) || !errors.Is(err, errBoo) {
		t.Errorf("invalid message: %v", err)
	}
	for name, opts := range map[string][]posthorn.DispatchOption{
		"queue": {posthorn.WithQueue("no queue")}, "priority": {posthorn.WithPriority(101)}, "id": {posthorn.WithID("a b")},
		"header": {posthorn.WithHeader("k", "\xff")}, "header name": {posthorn.WithHeader("", "v")},
	} {
		if _, err := d.Dispatch(t.Context(), order{}, opts...); !errors.Is(err, driver.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	if _, err := d.DispatchRaw(t.Context(), "order", make([]byte, driver.MaxBody+1)); !errors.Is(err, driver.ErrTooLarge) {
		t.Errorf("long body: %v", err)
	}
	if _, err := d.Dispatch(t.Context(), nil); err == nil {
		t.Error("a nil message was sent")
	}
	if _, err := d.Dispatch(t.Context(), unencodable{}); err == nil {
		t.Error("a message that does not encode was sent")
	}
	if n := stored(t, s); n != 0 {
		t.Errorf("%d messages were stored", n)
	}
}

// An unencodable message has no JSON.
type unencodable struct{ C chan int }

// Kind names it.
func (unencodable) Kind() string { return "unencodable" }

func TestDispatchManySendsAllOrNone(t *testing.T) {
	s := openStore(t)
	d := dispatcher(t, s, posthorn.DispatcherOptions{})
	if _, err := d.DispatchMany(t.Context(), []posthorn.Message{order{}, checked{Bad: true}}); err == nil {
		t.Error("an invalid message was sent")
	}
	if _, err := d.Dispatch(t.Context(), order{}, posthorn.WithID("taken")); err != nil {
		t.Fatal(err)
	}
	same := []posthorn.Message{order{1}, order{2}}
	for _, id := range []string{"taken", "twice"} {
		if _, err := d.DispatchMany(t.Context(), same, posthorn.WithID(id)); !errors.Is(err, driver.ErrDuplicate) {
			t.Errorf("%s: %v, want ErrDuplicate", id, err)
		}
	}
	if n := stored(t, s); n != 1 {
		t.Errorf("%d messages are stored, want 1", n)
	}
	ids, err := d.DispatchMany(t.Context(), same)
	if err != nil || len(ids) != 2 || ids[0] == ids[1] || stored(t, s) != 3 {
		t.Errorf("ids %v, %v", ids, err)
	}
	if p, err := s.Find(t.Context(), ids[1]); err != nil || string(p.Body) != `{"n":2}` {
		t.Errorf("the second id is of %+v, %v", p, err)
	}
	if ids, err := d.DispatchMany(t.Context(), nil); ids != nil || err != nil {
		t.Errorf("nothing: %v, %v", ids, err)
	}
}

func TestOptionsAndRoutesShapeTheEnvelope(t *testing.T) {
	d := dispatcher(t, memory.New(memory.Options{}), posthorn.DispatcherOptions{
		Queue: "rest", Routes: map[string]string{"order": "orders"},
	})
	at := time.Now().Add(time.Hour)
	e, err := d.Envelope("order", []byte("x"), posthorn.WithDelay(time.Minute), posthorn.WithTime(at),
		posthorn.WithPriority(7), posthorn.WithID("me"), posthorn.WithHeader("a", "1"), posthorn.WithHeader("b", "2"))
	if err != nil || e.Queue != "orders" || e.Delay != time.Minute || !e.NotBefore.Equal(at) || e.Priority != 7 ||
		e.ID != "me" || len(e.Header) != 2 || e.Header["a"] != "1" || string(e.Body) != "x" || e.Kind != "order" {
		t.Errorf("envelope %+v, %v", e, err)
	}
	e, err = d.Envelope("order", nil, posthorn.WithQueue("vip"), posthorn.WithDelay(-1))
	if err != nil || e.Queue != "vip" || e.Delay != 0 || e.ID == "" {
		t.Errorf("envelope %+v, %v", e, err)
	}
	if e, err := d.Envelope("other", nil); err != nil || e.Queue != "rest" {
		t.Errorf("envelope %+v, %v", e, err)
	}
}

func TestDispatcherRefusesQueuesThatCannotBe(t *testing.T) {
	tr := memory.New(memory.Options{})
	for _, o := range []posthorn.DispatcherOptions{{Queue: "no queue"}, {Routes: map[string]string{"order": "no queue"}}} {
		if _, err := posthorn.NewDispatcher(tr, o); !errors.Is(err, driver.ErrInvalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestDispatcherRefusesWhatItsTransportCannotDo(t *testing.T) {
	d := dispatcher(t, memory.New(memory.Options{NoDelay: true, NoPriority: true}), posthorn.DispatcherOptions{})
	for name, opt := range map[string]posthorn.DispatchOption{
		"delay": posthorn.WithDelay(time.Second), "time": posthorn.WithTime(time.Now().Add(time.Hour)),
		"priority": posthorn.WithPriority(1),
	} {
		if _, err := d.Dispatch(t.Context(), order{}, opt); !errors.Is(err, driver.ErrUnsupported) {
			t.Errorf("%s: %v, want ErrUnsupported", name, err)
		}
	}
}

// inTx runs fn in a transaction of db and ends it.
func inTx(t *testing.T, db *sql.DB, commit bool, fn func(tx *sql.Tx) error) error {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	failed := fn(tx)
	if commit && failed == nil {
		err = tx.Commit()
	} else {
		err = tx.Rollback()
	}
	if err != nil {
		t.Error(err)
	}
	return failed
}

func TestDispatchTxSharesTheFateOfTheTransaction(t *testing.T) {
	s := openStore(t)
	d := dispatcher(t, s, posthorn.DispatcherOptions{})
	for _, commit := range []bool{false, true} {
		var id string
		err := inTx(t, s.DB(), commit, func(tx *sql.Tx) (err error) {
			id, err = d.DispatchTx(t.Context(), tx, order{5}, posthorn.WithDelay(time.Hour))
			if n := stored(t, s); n != 0 {
				t.Errorf("%d messages are seen before the commit", n)
			}
			return err
		})
		p, ferr := s.Find(t.Context(), id)
		if err != nil || ferr != nil || (p != nil) != commit {
			t.Errorf("commit %v: %+v, %v, %v", commit, p, err, ferr)
		}
		if commit && (p.Place != store.PlaceDelayed || string(p.Body) != `{"n":5}`) {
			t.Errorf("position: %+v", p)
		}
	}
	var invalid *posthorn.InvalidError
	err := inTx(t, s.DB(), true, func(tx *sql.Tx) error {
		_, err := d.DispatchTx(t.Context(), tx, checked{Bad: true})
		return err
	})
	if !errors.As(err, &invalid) {
		t.Errorf("invalid message: %v", err)
	}
}

func TestDispatchTxRefusesATransactionOnAnotherDatabase(t *testing.T) {
	s, other := openStore(t), openStore(t)
	plain, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "plain.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()
	d := dispatcher(t, s, posthorn.DispatcherOptions{})
	for name, db := range map[string]*sql.DB{"a plain database": plain, "another store": other.DB()} {
		err := inTx(t, db, true, func(tx *sql.Tx) error {
			_, err := d.DispatchTx(t.Context(), tx, order{})
			if !errors.Is(err, driver.ErrWrongStore) {
				t.Errorf("%s: %v, want ErrWrongStore", name, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if stored(t, s)+stored(t, other) != 0 {
		t.Error("something was stored")
	}
	mem := dispatcher(t, memory.New(memory.Options{}), posthorn.DispatcherOptions{})
	if _, err := mem.DispatchTx(context.Background(), nil, order{}); !errors.Is(err, driver.ErrUnsupported) {
		t.Errorf("memory: %v, want ErrUnsupported", err)
	}
}
