package hotpath_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/guard"
	"github.com/posthorn/posthorn/transport/memory"
)

// encoded is the body of a note.
func encoded(b *testing.B) []byte {
	b.Helper()
	body, err := json.Marshal(newNote())
	if err != nil {
		b.Fatal(err)
	}
	return body
}

// What Dispatch does before the transport: the envelope with its id and checks.
func BenchmarkEnvelope(b *testing.B) {
	b.ReportAllocs()
	d, err := posthorn.NewDispatcher(memory.New(memory.Options{}), posthorn.DispatcherOptions{})
	if err != nil {
		b.Fatal(err)
	}
	for body := encoded(b); b.Loop(); {
		if _, err := d.Envelope("note", body); err != nil {
			b.Fatal(err)
		}
	}
}

// What a slot does before the handler: decode and validate.
func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	mux := posthorn.NewMux()
	posthorn.Handle(mux, func(context.Context, note) error { return nil })
	h, _ := mux.Handler("note")
	for body := encoded(b); b.Loop(); {
		if err := h.Check(body); err != nil {
			b.Fatal(err)
		}
	}
}

// What the guard of a server reads of each statement of a handler.
func BenchmarkGuardText(b *testing.B) {
	const insert = `insert into orders (id, customer, total) values ($1, $2, $3) on conflict (id) do nothing`
	const long = `with due as (select o.id, o.total from orders o join customers c on c.id = o.customer
		where c.state = 'active' and o.paid_at is null order by o.created_at limit 10) -- the oldest
		update orders set reminded_at = now() from due where orders.id = due.id returning orders.id`
	for _, c := range []struct {
		name   string
		syntax guard.Syntax
		query  string
	}{
		{"PostgreSQL/short", guard.PostgreSQL, insert}, {"PostgreSQL/long", guard.PostgreSQL, long},
		{"MySQL/short", guard.MySQL, insert}, {"MySQL/long", guard.MySQL, long},
	} {
		why := ""
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				why = c.syntax.RefuseTransactionControl(c.query) + c.syntax.RefuseOwnTables(c.query, store.Names{})
			}
		})
		if why != "" {
			b.Error(why)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	now := time.Now()
	d := driver.Delivery{Envelope: driver.Envelope{ID: "m", Kind: "note", Queue: "default"}, Deliveries: 1}
	failure := errors.New("it did not work")
	for _, c := range []struct {
		name string
		err  error
	}{{"done", nil}, {"retry", failure}, {"reject", posthorn.Reject(failure)}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var policy posthorn.RetryPolicy
			for b.Loop() {
				policy.Decide(d, c.err, now)
			}
		})
	}
}
