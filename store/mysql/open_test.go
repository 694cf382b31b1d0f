package mysql_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/mysql"
)

func TestAnAddressThatIsRefusedIsNotRepeated(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]error{
		"postgres://u:s3cret@h/d": store.ErrDSN, "mysql://u:s3cret@h": store.ErrDSN, "mysql://u:s3cret@/d": store.ErrDSN,
		"mysql:u:s3cret@h/d": store.ErrDSN, "mysql://u:s3cret@h:x/d": store.ErrDSN, "mysql://u:s3cret%@h/d": store.ErrDSN,
		"mysql://u:s3cret@localhost/d?s3cret=1":            store.ErrDSN,
		"mysql://u:s3cret@localhost/d?timeout=s3cret":      store.ErrDSN,
		"mysql://u:s3cret@localhost/d?tls=s3cret":          store.ErrDSN,
		"mysql://u:s3cret@192.0.2.1/d?tls=false":           store.ErrPlaintext,
		"mysql://u:s3cret@localhost,192.0.2.1/d?tls=false": store.ErrPlaintext,
	} {
		_, err := mysql.Open(t.Context(), dsn, store.Options{})
		if !errors.Is(err, want) || strings.Contains(fmt.Sprint(err), "s3cret") {
			t.Errorf("%s returned %v, want %v without the secret", dsn, err, want)
		}
	}
}

func TestAnOldServerIsRefusedByNameAndVersion(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"10.5.29-MariaDB": "MariaDB 10.5.29", "5.7.44": "MySQL 5.7.44", "8.0.3-rc": "MySQL 8.0.3",
		"8.0.11-TiDB-v7.5": "TiDB",
	} {
		server := testserver.MariaDB(t, testserver.Options{Settings: map[string]string{"version": version}})
		_, err := mysql.Open(t.Context(), address(server, "test"), store.Options{})
		if !errors.Is(err, store.ErrEngine) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: open returned %v, want %v with %q", version, err, store.ErrEngine, want)
		}
	}
}

func TestABodyThatFitsIntoNoPacketIsRefusedAtSend(t *testing.T) {
	t.Parallel()
	const packet = 1 << 20
	settings := map[string]string{"max_allowed_packet": fmt.Sprint(packet)}
	server := testserver.MariaDB(t, testserver.Options{Settings: settings})
	r := newRigAt(t, server, "test", store.Options{MaxBody: 4 << 20})
	limit := r.store.Capabilities().MaxBody
	if limit >= packet || limit < packet/2 {
		t.Fatalf("the largest body is %d, the packet %d", limit, packet)
	}
	e := driver.Envelope{ID: "big", Kind: "k", Queue: "q", Body: []byte(strings.Repeat("'", limit))}
	header := map[string]string{}
	for i := range 4 {
		header[fmt.Sprint("h", i)] = strings.Repeat("\x01", driver.MaxHeaderValue-2)
	}
	e.Header = header
	if err := r.store.Send(r.soon(), e); err != nil {
		t.Fatalf("send of %d bytes: %v", limit, err)
	}
	ds, err := r.consumer.Receive(r.soon(), 1)
	if err != nil || string(ds[0].Body) != string(e.Body) {
		t.Errorf("received %d messages, error %v", len(ds), err)
	}
	e.ID, e.Body = "bigger", append(e.Body, 'x')
	err = r.store.Send(r.soon(), e)
	if !errors.Is(err, driver.ErrTooLarge) || !strings.Contains(err.Error(), fmt.Sprint(limit)) {
		t.Errorf("send of more returned %v, want %v with the limit", err, driver.ErrTooLarge)
	}
}

func TestDurabilityIsReadFromTheServer(t *testing.T) {
	t.Parallel()
	if got := newRig(t).store.Capabilities().Durability; got != driver.PowerSafe {
		t.Errorf("durability is %s, want %s", got, driver.PowerSafe)
	}
	weak := testserver.MariaDB(t, testserver.Options{Settings: map[string]string{"innodb_flush_log_at_trx_commit": "2"}})
	if got := newRigAt(t, weak, "test", store.Options{}).store.Capabilities().Durability; got != driver.ProcessSafe {
		t.Errorf("durability is %s, want %s", got, driver.ProcessSafe)
	}
}

func TestSessionSettingsReachEveryConnection(t *testing.T) {
	t.Parallel()
	d := servers.MariaDB(t)
	set := map[string]string{"wait_timeout": "4321", "sql_mode": "ANSI_QUOTES,STRICT_ALL_TABLES"}
	r := newRigAt(t, d.Server, d.Name, store.Options{Server: store.ServerOptions{Session: set}})
	const query = `select concat(@@wait_timeout, ' ', @@sql_mode, ' ', @@tx_isolation)`
	var handler, app string
	const want = "4321 ANSI_QUOTES,STRICT_ALL_TABLES READ-COMMITTED"
	one, err := r.among(func(ctx context.Context, tx driver.Tx) error {
		return tx.QueryRowContext(ctx, query).Scan(&handler)
	})
	r.committed(one, err)
	if err := r.store.DB().QueryRowContext(r.soon(), query).Scan(&app); err != nil || app != want || handler != want {
		t.Errorf("the application has %q, a handler %q, error %v; want %q", app, handler, err, want)
	}
	for name, value := range map[string]string{"nonsense": "1", "wait_timeout": "x'y", "autocommit": "0", "a b": "1"} {
		bad := store.ServerOptions{Session: map[string]string{name: value}}
		_, err := mysql.Open(r.soon(), r.dsn, store.Options{Server: bad})
		if !errors.Is(err, store.ErrSession) {
			t.Errorf("setting %s: open returned %v, want %v", name, err, store.ErrSession)
		}
	}
}

func TestKeysCompareBytes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, id := range []string{"abc", "ABC"} {
		if err := r.store.Send(r.soon(), driver.Envelope{ID: id, Kind: id, Queue: id}); err != nil {
			t.Fatalf("send %s: %v", id, err)
		}
	}
	var n int
	err := r.store.DB().QueryRowContext(r.soon(), `select count(*) from posthorn_message
		where id = 'abc ' or id = 'Abc' or queue = 'abc ' or kind = 'aBc' or id = 'äbc'`).Scan(&n)
	if err != nil || n != 0 {
		t.Errorf("%d keys compare equal that are not, error %v", n, err)
	}
	stats, err := r.store.Stats(r.soon())
	if err != nil || len(stats) != 2 {
		t.Errorf("there are %d queues, want 2, error %v", len(stats), err)
	}
}

func TestAMigrationThatWasCutShortGoesOn(t *testing.T) {
	t.Parallel()
	d := servers.MariaDB(t)
	dsn := address(d.Server, d.Name)
	db := d.Open(t)
	ms, err := mysql.Migrations(t.Context(), dsn)
	if err != nil || len(ms) == 0 || !ms[0].AppliedAt.IsZero() {
		t.Fatalf("migrations of an empty database are %+v, error %v", ms, err)
	}
	steps := strings.Split(ms[0].SQL, ";\n")
	for _, step := range steps[:len(steps)/2] {
		if _, err := db.ExecContext(t.Context(), step); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	ran := 0
	for range 4 {
		wg.Go(func() {
			n, err := mysql.Migrate(t.Context(), dsn)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			ran += n
		})
	}
	wg.Wait()
	if ran != len(ms) {
		t.Errorf("four migrators ran %d steps, want %d", ran, len(ms))
	}
	if ms, err = mysql.Migrations(t.Context(), dsn); err != nil || ms[len(ms)-1].AppliedAt.IsZero() {
		t.Errorf("migrations are %+v, error %v", ms, err)
	}
	if _, err := db.ExecContext(t.Context(), `insert into posthorn_migration values (999, 'later', 1)`); err != nil {
		t.Fatal(err)
	}
	if _, err := mysql.Open(t.Context(), dsn, store.Options{}); !errors.Is(err, store.ErrTooNew) {
		t.Errorf("open of a newer store returned %v, want %v", err, store.ErrTooNew)
	}
}
