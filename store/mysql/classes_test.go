package mysql_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/mysql"
)

func TestAFullOrStoppedServerIsTransientAndTheStoreHeals(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t, testserver.Options{Settings: map[string]string{"max_connections": "30"}})
	r := newRigAt(t, server, "test", store.Options{})
	if err := server.Exec(`set global max_connections = 10`); err != nil {
		t.Fatal(err)
	}
	r.exec(`create user worker`, `grant all on test.* to worker`)
	hog, err := server.Open("worker", "test")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hog.Close() }()
	var held []*sql.Conn
	for {
		var c *sql.Conn
		if c, err = hog.Conn(r.soon()); err != nil {
			break
		}
		held = append(held, c)
	}
	if r.store.Classify(err) != driver.ClassTransient {
		t.Errorf("too many connections: error %v has class %q, want transient", err, r.store.Classify(err))
	}
	for _, c := range held {
		_ = c.Close()
	}
	if err := hog.Close(); err != nil {
		t.Fatal(err)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := r.store.Ping(ctx); !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("stopped server: ping returned %v, want %v", err, driver.ErrUnavailable)
	}
	if _, err := mysql.Open(r.soon(), r.dsn, store.Options{}); !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("stopped server: open returned %v, want %v", err, driver.ErrUnavailable)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	d, err := r.among(nothing)
	r.committed(d, err)
}

func TestADemotedServerIsTransientAndCostsNothing(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t, testserver.Options{})
	r := newRigAt(t, server, "test", store.Options{})
	r.exec(`create user worker`, `grant all on test.* to worker`)
	dsn := "mysql://worker@" + server.Addr() + "/test" // not the superuser, who may write anyway
	s := openStore(t, dsn, store.Options{})
	if err := server.Exec(`set global read_only = 1`); err != nil {
		t.Fatal(err)
	}
	e := driver.Envelope{ID: "a", Kind: "k", Queue: "q"}
	if err := s.Send(r.soon(), e); !errors.Is(err, driver.ErrUnavailable) || errors.Is(err, driver.ErrOutcomeUnknown) {
		t.Errorf("send returned %v, want %v and a known outcome", err, driver.ErrUnavailable)
	}
	if _, err := mysql.Open(r.soon(), dsn[:len(dsn)-len("/test")]+","+server.Addr()+"/test", store.Options{}); !errors.Is(
		err, driver.ErrUnavailable) {
		t.Errorf("open of read-only hosts returned %v, want %v", err, driver.ErrUnavailable)
	}
	if err := server.Exec(`set global read_only = 0`); err != nil {
		t.Fatal(err)
	}
	if err := s.Send(r.soon(), e); err != nil {
		t.Errorf("send after the promotion: %v", err)
	}
}

func TestTheFirstMessageAfterAQuietNightCostsNothing(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t, testserver.Options{Settings: map[string]string{"wait_timeout": "1"}})
	r := newRigAt(t, server, "test", store.Options{Server: store.ServerOptions{IdleCheck: 500 * time.Millisecond}})
	for range 2 {
		d, err := r.among(nothing)
		r.committed(d, err)
		if d.Attempt != 0 || d.Deliveries != 1 || d.Crashes != 0 {
			t.Errorf("the message was delivered as %+v", d)
		}
		time.Sleep(2500 * time.Millisecond)
	}
	if err := r.store.Ping(r.soon()); err != nil {
		t.Errorf("ping after idleness: %v", err)
	}
}
