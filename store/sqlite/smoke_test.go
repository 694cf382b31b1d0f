package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
)

func TestSmoke(t *testing.T) {
	ctx := t.Context()
	s, err := sqlite.Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "a.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := s.DB().Exec("create table effect(id text)"); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := s.Send(ctx, driver.Envelope{ID: fmt.Sprint("m", i), Kind: "k", Queue: "q", Priority: i % 3}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Send(ctx, driver.Envelope{ID: "m1", Kind: "k", Queue: "q"}); !errors.Is(err, driver.ErrDuplicate) {
		t.Fatal(err)
	}
	c, err := s.Consume(ctx, driver.Subscription{Queues: []string{"q"}, Lease: time.Second, Worker: "w"})
	if err != nil {
		t.Fatal(err)
	}
	ds, err := c.Receive(ctx, 100)
	if err != nil || len(ds) != 10 {
		t.Fatal(ds, err)
	}
	var units []driver.Unit
	for i, d := range ds {
		units = append(units, driver.Unit{Delivery: d, Context: ctx, Timeout: time.Second, Effect: func(ctx context.Context, tx driver.Tx) error {
			if _, err := tx.ExecContext(ctx, "insert into effect values(?)", d.ID); err != nil {
				return err
			}
			switch i {
			case 3:
				return errors.New("boo")
			case 4:
				_, err := tx.ExecContext(ctx, "commit")
				return err
			case 5:
				_, _ = tx.ExecContext(ctx, "insert into effect values(1); rollback")
				return nil
			case 6:
				_, err := tx.ExecContext(ctx, "create unique index u on effect(id); insert or rollback into effect values(?)", d.ID)
				t.Log(err)
				return nil
			case 7:
				_, _ = tx.QueryContext(ctx, "select * from effect")
				tx.QueryRowContext(ctx, "select * from effect")
				return nil
			case 8:
				_, err := tx.ExecContext(ctx, "create temp table x(a); update posthorn_message set state=0")
				return err
			}
			return nil
		}})
	}
	for i, err := range s.Transact(ctx, units) {
		t.Log(i, err)
	}
	var n int
	if err := s.DB().QueryRow("select count(*) from effect").Scan(&n); err != nil || n != 5 {
		t.Error(n, err)
	}
	st, err := s.Stats(ctx)
	t.Logf("%+v %v", st, err)
}
