package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// downgrade takes a store back to what the first migration made. With half, as
// if the second one had been cut short where the server commits each change.
func downgrade(t *testing.T, s *store.Store, half bool) {
	t.Helper()
	stmts := []string{
		"delete from posthorn_migration where version >= 2",
		"drop table posthorn_revision", "alter table posthorn_letter drop column revision",
		"drop table posthorn_audit", "drop table posthorn_audited",
		"drop table posthorn_operation", "drop table posthorn_target",
		"create table posthorn_control (name varchar(64) primary key, version bigint not null)",
		"drop table posthorn_pause", "drop table posthorn_document", "drop table posthorn_offer",
	}
	if s.Dialect() == "mysql" {
		stmts = append(stmts, "drop table posthorn_lease", `alter table posthorn_message drop key posthorn_message_turn,
			drop key posthorn_message_opens, drop column gate, drop column opens_at,
			add key posthorn_message_ready (state, queue, turn, due_at, seq), add key posthorn_message_wake (state, wake_at)`)
	} else {
		stmts = append(stmts, "drop index posthorn_message_suspect")
	}
	stmts = append(stmts, "alter table posthorn_message drop column suspect")
	if s.Dialect() == "postgres" {
		stmts = append(stmts, "alter table posthorn_message drop constraint posthorn_message_delayed",
			"alter table posthorn_message drop column delayed",
			"alter table posthorn_message add column delayed boolean generated always as (state = 1) stored",
			"create index posthorn_message_later on posthorn_message (due_at) where delayed")
	}
	for _, column := range []string{"told", "limits", "holds"} {
		stmts = append(stmts, "alter table posthorn_worker drop column "+column)
	}
	stmts = append(stmts, "drop table posthorn_group", "alter table posthorn_attempt drop column build",
		"alter table posthorn_attempt drop column claim")
	for _, index := range []string{"group", "queue", "kind", "class", "type"} {
		on := map[bool]string{true: " on posthorn_letter"}[s.Dialect() == "mysql"]
		stmts = append(stmts, "drop index posthorn_letter_"+index+on)
	}
	if s.Dialect() != "mysql" { // there the last migration drops what is there
		stmts = append(stmts, "drop index posthorn_letter_died",
			"create index posthorn_letter_died on posthorn_letter (died_at)")
	}
	for _, column := range []string{"fingerprint", "error_type", "build"} {
		stmts = append(stmts, "alter table posthorn_letter drop column "+column)
	}
	if half {
		stmts = stmts[:1]
	}
	for _, stmt := range stmts {
		if _, err := s.DB().ExecContext(t.Context(), stmt); err != nil {
			t.Fatalf("%s: %v", stmt, err)
		}
	}
}

func TestAStoreOfTheFirstVersionIsBroughtForwardWithWhatItHolds(t *testing.T) {
	t.Parallel()
	for name, p := range places(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			old := p.store(t, "")
			beat(t, old, "w", "p@h")
			try(t, old.Send(t.Context(), message("held"), message("ready")))
			c, err := old.Consume(t.Context(), driver.Subscription{Queues: []string{"q"}, Lease: time.Minute, Worker: "w"})
			try(t, err)
			ds, err := c.Receive(t.Context(), 1)
			try(t, err)
			try(t, c.Close())
			downgrade(t, old, false)
			try(t, old.Close())
			again(t, p, ds[0])
			if strings.HasPrefix(p.dsn, "mysql") {
				half := p.store(t, "")
				downgrade(t, half, true)
				try(t, half.Close())
				healthy(t, p.store(t, ""))
			}
		})
	}
}

// again opens the store, and handles what it holds.
func again(t *testing.T, p place, held driver.Delivery) {
	t.Helper()
	s := p.store(t, "")
	healthy(t, s)
	ws, _, err := s.Workers(t.Context())
	try(t, err)
	if len(ws) != 1 || ws[0].Told != driver.OrderNone || len(ws[0].Holds) != 0 {
		t.Errorf("workers %+v", ws)
	}
	if beat(t, s, "w", "p@h") {
		t.Error("an old row has an order")
	}
	toll, err := s.ReleaseDead(t.Context(), driver.Death{Worker: "w", Begun: []driver.Token{held.Token}})
	if try(t, err); toll != (driver.Toll{Suspected: 1}) {
		t.Errorf("toll is %+v", toll)
	}
	got := ids(receive(t, consume(t, s)))
	suspects, err := s.Consume(t.Context(), driver.Subscription{
		Queues: []string{"q"}, Lease: time.Minute, Worker: "alone", Suspects: true,
	})
	try(t, err)
	defer func() { _ = suspects.Close() }()
	got = append(got, ids(receive(t, suspects))...)
	slices.Sort(got)
	if fmt.Sprint(got) != "[held ready]" {
		t.Errorf("received %v", got)
	}
}
