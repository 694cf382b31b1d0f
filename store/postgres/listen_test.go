package postgres_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/proxy"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/postgres"
)

// past is the address of a database by a pooler, with a way past it.
func past(pooler, database, server string) string {
	return behind(pooler, database) + "&listen=" + server
}

// awaitBackends waits until so many of a database's sessions have run a query last.
func awaitBackends(t *testing.T, db *sql.DB, query string, want int) {
	t.Helper()
	got := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		got = text(t, db, `select count(*)::text from pg_stat_activity where datname = current_database() and query = $1`,
			query)
		if got == fmt.Sprint(want) {
			return
		}
	}
	t.Fatalf("%s sessions run %q, want %d", got, query, want)
}

// openDeaf opens a store that finds messages by itself with its first look only:
// what comes later has to be told.
func openDeaf(t *testing.T, dsn string) *store.Store {
	t.Helper()
	s := openStore(t, dsn, store.Options{Poll: time.Hour})
	s.Fast = time.Hour
	if err := consumes(t, s).Close(); err != nil { // from now on it listens
		t.Fatal(err)
	}
	return s
}

// consumes opens a consumer.
func consumes(t *testing.T, s *store.Store) driver.Consumer {
	t.Helper()
	c, err := s.Consume(t.Context(), driver.Subscription{Queues: []string{"q"}, Lease: patience, Worker: "w"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wakes sends some messages by one store, while a consumer of another waits for
// each of them.
func wakes(t *testing.T, from, to *store.Store, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := consumes(t, to)
	defer c.Close()
	for i := range 3 {
		sent := make(chan error, 1)
		time.AfterFunc(300*time.Millisecond, func() { // it has looked, and waits
			sent <- from.Send(ctx, driver.Envelope{ID: fmt.Sprint(name, i), Kind: "k", Queue: "q"})
		})
		ds, err := c.Receive(ctx, 1)
		if failed := <-sent; failed != nil || err != nil || len(ds) != 1 {
			t.Fatalf("message %d: sent with %v, received %v, %v", i, failed, ds, err)
		}
		if err := c.Settle(ctx, driver.Settlement{Delivery: ds[0], Verdict: driver.Ack}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMessagesThatPassAPoolerWakeThoseWhoListenPastIt(t *testing.T) {
	t.Parallel()
	d := servers.PostgreSQL(t)
	for _, mode := range []string{"transaction", "session"} {
		t.Run(mode, func(t *testing.T) {
			pooler := startBouncer(t, d.Server.Addr(), mode)
			consumer := openDeaf(t, past(pooler, d.Name, d.Server.Addr()))
			awaitBackends(t, d.Open(t), "listen posthorn_wake", 1)
			producer := openStore(t, past(pooler, d.Name, d.Server.Addr()), store.Options{})
			wakes(t, producer, consumer, "m")
			awaitBackends(t, d.Open(t), "listen posthorn_wake", 1) // who only sends does not listen
			if err := errors.Join(producer.Close(), consumer.Close()); err != nil {
				t.Error(err)
			}
			awaitBackends(t, d.Open(t), "listen posthorn_wake", 0)
		})
	}
}

// Each send is followed by a notification, also where the connection that was to send it is lost.
func TestEachSendIsFollowedByANotification(t *testing.T) {
	t.Parallel()
	d := servers.PostgreSQL(t)
	s, ctx := openStore(t, d.DSN(), store.Options{}), t.Context()
	c, err := pgx.Connect(ctx, d.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	if _, err := c.Exec(ctx, "listen posthorn_wake"); err != nil {
		t.Fatal(err)
	}
	next := func(within time.Duration) error {
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		_, err := c.WaitForNotification(ctx)
		return err
	}
	for i := range 20 {
		if i%5 == 4 {
			text(t, s.DB(), `select count(pg_terminate_backend(pid))::text from pg_stat_activity
				where datname = current_database() and query = 'notify posthorn_wake'`)
		}
		if err := s.Send(ctx, driver.Envelope{ID: fmt.Sprint("m", i), Kind: "k", Queue: "q"}); err != nil {
			t.Fatal(err)
		}
		if err := next(patience); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if err := next(50 * time.Millisecond); err == nil {
			t.Errorf("message %d was notified of twice", i)
		}
	}
}

func TestWithoutAPoolerTheEarsListenWhereTheyAreTold(t *testing.T) {
	t.Parallel()
	d := servers.PostgreSQL(t)
	aside := proxy.New(t, proxy.PostgreSQL, d.Server.Addr())
	consumer := openDeaf(t, d.DSN()+"&listen="+aside.Addr())
	awaitBackends(t, d.Open(t), "listen posthorn_wake", 1)
	wakes(t, openStore(t, d.DSN(), store.Options{}), consumer, "a")
	if aside.Cut() == 0 {
		t.Error("the ears did not come this way")
	}
	wakes(t, openStore(t, d.DSN(), store.Options{}), consumer, "b")
}

func TestAWayThatLeadsAstrayIsRefused(t *testing.T) {
	t.Parallel()
	d, other := servers.PostgreSQL(t), testserver.PostgreSQL(t, testserver.Options{Volatile: true})
	if err := other.Exec("create database " + d.Name); err != nil {
		t.Fatal(err)
	}
	openStore(t, other.DSN(other.Superuser(), d.Name), store.Options{})
	pooler, sessions := startBouncer(t, d.Server.Addr(), "transaction"), startBouncer(t, d.Server.Addr(), "session")
	for name, c := range map[string]struct{ dsn, want string }{
		"to the pooler itself":        {past(pooler, d.Name, pooler), "leads to a pooler"},
		"to a pooler of sessions":     {past(pooler, d.Name, sessions), "leads to a pooler"},
		"to a pooler, without one":    {d.DSN() + "&listen=" + pooler, "leads to a pooler"},
		"to another server":           {past(pooler, d.Name, other.Addr()), "another database"},
		"to another, without pooler":  {d.DSN() + "&listen=" + other.Addr(), "another database"},
		"to a pooler, with a setting": {d.DSN() + "&statement_timeout=31s&listen=" + pooler, "leads to a pooler"},
	} {
		err := refused(t, c.dsn)
		if !errors.Is(err, store.ErrDSN) || errors.Is(err, driver.ErrUnavailable) ||
			!strings.Contains(fmt.Sprint(err), c.want) || !strings.Contains(fmt.Sprint(err), "listen=") {
			t.Errorf("%s: %v, want ErrDSN that says %q", name, err, c.want)
		}
	}
}

// mute accepts connections and says nothing.
func mute(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestAStoreWorksWhileNobodyCanListen(t *testing.T) {
	t.Parallel()
	d := servers.PostgreSQL(t)
	pooler := startBouncer(t, d.Server.Addr(), "transaction")
	for _, addr := range []string{"127.0.0.1:1", mute(t)} {
		var log bytes.Buffer
		s := openStore(t, past(pooler, d.Name, addr), store.Options{
			Log: slog.New(slog.NewTextHandler(&log, nil)), Server: store.ServerOptions{ConnectTimeout: time.Second},
		})
		if said := log.String(); strings.Count(said, "cannot listen") != 1 || !strings.Contains(said, addr) {
			t.Errorf("opening the store logged %q, and no warning of %s", said, addr)
		}
		if err := send(t, s, "polled"); err != nil {
			t.Fatal(err)
		}
		effect(t, s, func(context.Context, driver.Tx) error { return nil })
		examine(t, s).want(t, "PG-POOLER", store.LevelWarning, "listen="+addr)
	}
}

func TestTheDoctorTellsOfListening(t *testing.T) {
	t.Parallel()
	d := servers.PostgreSQL(t)
	pooler := startBouncer(t, d.Server.Addr(), "transaction")
	without := examine(t, openStore(t, behind(pooler, d.Name), store.Options{}))
	if fix := without["PG-POOLER"].Fix; !strings.Contains(fix, "listen=HOST:PORT") {
		t.Errorf("the fix behind a pooler is %q", fix)
	}
	for _, dsn := range []string{past(pooler, d.Name, d.Server.Addr()), d.DSN() + "&listen=" + d.Server.Addr()} {
		examine(t, openStore(t, dsn, store.Options{})).want(t, "PG-POOLER", store.LevelOK, "listen="+d.Server.Addr())
	}
}

func TestTheWayOfTheEarsHasItsForm(t *testing.T) {
	for listen, want := range map[string]error{
		"127.0.0.1:5432": nil, "[::1]:5432": nil, "localhost:1": nil, "db-1.example:65535": nil, "[2001:db8::1]:5432": nil,
		"": store.ErrDSN, "db.example": store.ErrDSN, ":5432": store.ErrDSN, "db.example:": store.ErrDSN,
		"db.example:0": store.ErrDSN, "db.example:65536": store.ErrDSN, "db.example:+1": store.ErrDSN,
		"db.example:c4n4ry": store.ErrDSN, "::1:5432": store.ErrDSN, "[c4n4ry:1]:5432": store.ErrDSN,
		"one:1,two:2": store.ErrDSN, "one,two:5432": store.ErrDSN, "u:c4n4ry@one:5432": store.ErrDSN,
		"postgres://one:5432": store.ErrDSN, "/run/postgresql:5432": store.ErrDSN, "one:5432/c4n4ry": store.ErrDSN,
		"a b:5432": store.ErrDSN, "-x:5432": store.ErrDSN,
	} {
		err := postgres.CheckAddress("postgres://u@127.0.0.1/d?listen=" + url.QueryEscape(listen))
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%q: %v, want %v", listen, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "c4n4ry") || !strings.Contains(err.Error(), "listen")) {
			t.Errorf("%q: the error repeats it, or does not say where it is: %v", listen, err)
		}
	}
	if err := postgres.CheckAddress("postgres://u@127.0.0.1/d?listen=a:1&listen=b:1"); !errors.Is(err, store.ErrDSN) {
		t.Errorf("two of them: %v, want ErrDSN", err)
	}
}

func TestPlaintextToARemoteHostToListenAtNeedsConsent(t *testing.T) {
	for dsn, want := range map[string]error{
		"postgres://u:c4n4ry@127.0.0.1:6432/d?listen=db.example:5432":                                   nil, // verified
		"postgres://u:c4n4ry@127.0.0.1:6432/d?listen=db.example:5432&sslmode=disable":                   store.ErrPlaintext,
		"postgres://u:c4n4ry@127.0.0.1:6432/d?listen=db.example:5432&sslmode=prefer":                    store.ErrPlaintext,
		"postgres://u:c4n4ry@127.0.0.1:6432/d?listen=db.example:5432&sslmode=disable&allow_plaintext=1": nil,
		"postgres://u:c4n4ry@127.0.0.1:6432/d?listen=127.0.0.1:5432&sslmode=disable":                    nil,
		"postgres://u:c4n4ry@pool.example/d?listen=127.0.0.1:5432&sslmode=disable":                      store.ErrPlaintext,
		"postgres://u:c4n4ry@one,two/d?port=1,2&host=three,four&listen=db.example:5432":                 nil,
		"postgres://u:c4n4ry@127.0.0.1/d?listen=db.example:5432&sslrootcert=/no/such/c4n4ry":            store.ErrDSN,
	} {
		err := postgres.CheckAddress(dsn)
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v, want %v", dsn, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "c4n4ry") {
			t.Errorf("%s: the error repeats the address: %v", dsn, err)
		}
	}
}

func TestTheServerToListenAtProvesWhoItIs(t *testing.T) {
	t.Parallel()
	ca, other := testserver.NewAuthority(t), testserver.NewAuthority(t)
	proven := ca.PostgreSQL(t, testserver.Options{Volatile: true}, remote)
	server := &testserver.Database{Server: testserver.PostgreSQL(t, proven), Name: "postgres"}
	_, port, _ := strings.Cut(server.Server.Addr(), ":")
	listen := "listen=" + remote + ":" + port
	consumer := openDeaf(t, at(server, "127.0.0.1", listen, "sslrootcert="+url.QueryEscape(ca.File)))
	db := consumer.DB()
	awaitBackends(t, db, "listen posthorn_wake", 1)
	ssl := text(t, db, `select ssl::text from pg_stat_ssl join pg_stat_activity using (pid) where query like 'listen %'`)
	if ssl != "true" {
		t.Error("the ears are not encrypted")
	}
	for _, dsn := range []string{
		at(server, "127.0.0.1", listen, "sslrootcert="+url.QueryEscape(other.File)), at(server, "127.0.0.1", listen),
		at(server, remote, "listen=127.0.0.1:"+port, "sslmode=verify-full", "sslrootcert="+url.QueryEscape(ca.File)),
	} {
		if err := refused(t, dsn); !errors.Is(err, store.ErrUntrusted) || !strings.Contains(err.Error(), "listen=") {
			t.Errorf("%s: %v, want %v of the host to listen at", dsn, err, store.ErrUntrusted)
		}
	}
}
