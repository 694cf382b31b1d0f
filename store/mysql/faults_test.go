package mysql_test

import (
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	engine "github.com/go-sql-driver/mysql"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/mysql"
)

// A provocation makes a real server answer with an error.
type provocation struct {
	name  string
	want  store.Fault
	class driver.Class // that Store.Classify gives a handler's error
	by    func(r *rig) error
}

// sqls are statements of one connection, of which the last is in error.
func sqls(statements ...string) func(*rig) error {
	return func(r *rig) (err error) {
		r.Helper()
		c := r.conn()
		defer func() { _ = c.Close() }()
		for i, s := range statements {
			if _, err = c.ExecContext(r.soon(), s); err != nil && i < len(statements)-1 {
				r.Fatalf("%s: %v", s, err)
			}
		}
		return err
	}
}

// locked is sqls while another transaction holds the row 1.
func locked(statements ...string) func(*rig) error {
	return func(r *rig) error {
		r.Helper()
		r.begin("begin", 1)
		return sqls(statements...)(r)
	}
}

// begin begins a transaction on a connection of its own and changes a row in it.
func (r *rig) begin(how string, row int) *sql.Conn {
	r.Helper()
	c := r.conn()
	for _, s := range []string{how, fmt.Sprintf("update piece set n = n + 1 where id = %d", row)} {
		if _, err := c.ExecContext(r.soon(), s); err != nil {
			r.Fatal(err)
		}
	}
	return c
}

// during runs a long statement while something happens to its connection.
func during(happens func(r *rig, id int) error) func(*rig) error {
	return func(r *rig) (err error) {
		r.Helper()
		c := r.conn()
		var id int
		if err := c.QueryRowContext(r.soon(), `select connection_id()`).Scan(&id); err != nil {
			r.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { _, err = c.ExecContext(r.soon(), `select sleep(10) from piece`) })
		time.Sleep(100 * time.Millisecond)
		if failed := happens(r, id); failed != nil {
			r.Fatal(failed)
		}
		wg.Wait()
		return err
	}
}

// as runs a statement as a user without a right.
func as(user, stmt string) func(*rig) error {
	return func(r *rig) error {
		r.Helper()
		db, err := r.server.Open(user, "information_schema")
		if err != nil {
			r.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		_, err = db.ExecContext(r.soon(), stmt)
		return err
	}
}

// faultsOfTheStore are provocations that cost a message nothing.
func faultsOfTheStore() []provocation {
	const class = driver.ClassTransient
	return []provocation{
		{"deadlock", store.FaultDeadlock, class, deadlock},
		{"serialization failure", store.FaultSerialization, class, serialization},
		{"lock timeout", store.FaultLockTimeout, class, locked(`set innodb_lock_wait_timeout = 1`,
			`update piece set n = 5 where id = 1`)},
		{"locked, nowait", store.FaultLockTimeout, class, locked(`begin`,
			`select n from piece where id = 1 for update nowait`)},
		{"read-only", store.FaultReadOnly, class, sqls(`start transaction read only`,
			`insert into piece values (9, 9, 'c')`)},
		{"killed by itself", store.FaultConnectionLost, class, sqls(`kill connection_id()`)},
		{"killed", store.FaultConnectionLost, class, during(func(r *rig, id int) error {
			return r.server.Exec(fmt.Sprint("kill ", id))
		})},
	}
}

// faultsOfTheStatement are provocations that cost a message an attempt.
func faultsOfTheStatement() []provocation {
	const class = driver.Class("")
	return []provocation{
		{"unique", store.FaultUnique, class, sqls(`insert into piece values (1, 1, 'a')`)},
		{"too long", store.FaultTooLong, class, sqls(`insert into piece values (9, 1, 'abcd')`)},
		{"out of range", store.FaultOutOfRange, class, sqls(`insert into piece values (9, 1000, 'a')`)},
		{"out of range in an expression", store.FaultOutOfRange, class, sqls(
			`update piece set n = 9223372036854775807 + id`)},
		{"wrong value", store.FaultValue, class, sqls(`insert into piece values (9, 'abc', 'a')`)},
		{"not null", store.FaultNotNull, class, sqls(`insert into piece values (9, null, 'a')`)},
		{"no value", store.FaultNotNull, class, sqls(`insert into piece (id) values (9)`)},
		{"check", store.FaultConstraint, class, sqls(`insert into piece values (9, -1, 'a')`)},
		{"foreign key", store.FaultConstraint, class, sqls(`insert into child values (77)`)},
		{"foreign key of another", store.FaultConstraint, class, sqls(`delete from piece where id = 2`)},
		{"syntax", store.FaultSyntax, class, sqls(`this is no statement`)},
		{"no procedure", store.FaultSyntax, class, sqls(`call nothing()`)},
		{"no table", store.FaultNoTable, class, sqls(`select * from nowhere`)},
		{"no column", store.FaultNoTable, class, sqls(`select nothing from piece`)},
		{"permission", store.FaultPermission, class, as("nobody", `select * from mysql.user`)},
		{"permission to connect", store.FaultPermission, class, as("stranger", `select 1`)},
		{"permission of the server", store.FaultPermission, class, as("nobody", `set global max_connections = 7`)},
		{"statement timeout", store.FaultStatementTimeout, class, sqls(`set max_statement_time = 0.05`,
			`select sleep(10) from piece`)},
		{"statement killed", store.FaultStatementTimeout, class, during(func(r *rig, id int) error {
			return r.server.Exec(fmt.Sprint("kill query ", id))
		})},
		{"unnamed", "", class, sqls(`signal sqlstate '45000'`)},
	}
}

// deadlock is the error of the one of two transactions that gives way.
func deadlock(r *rig) error {
	r.Helper()
	one, two := r.begin("begin", 1), r.begin("begin", 2)
	var err error
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err = two.ExecContext(r.soon(), `update piece set n = 0 where id = 1`); err == nil {
			_, err = two.ExecContext(r.soon(), `rollback`)
		}
	})
	_, err1 := one.ExecContext(r.soon(), `update piece set n = 0 where id = 2`)
	_, _ = one.ExecContext(r.soon(), `rollback`)
	wg.Wait()
	return errors.Join(err1, err)
}

// serialization is the error of one that would change what another has changed
// since its snapshot.
func serialization(r *rig) error {
	r.Helper()
	late := r.conn()
	for _, s := range []string{
		`set session transaction isolation level repeatable read`, `set innodb_snapshot_isolation = on`,
		`start transaction with consistent snapshot`,
	} {
		if _, err := late.ExecContext(r.soon(), s); err != nil {
			r.Fatal(err)
		}
	}
	r.exec(`update piece set n = n + 1 where id = 1`)
	_, err := late.ExecContext(r.soon(), `update piece set n = n + 1 where id = 1`)
	return err
}

// newPieces is a rig with tables for provocations.
func newPieces(t *testing.T, server *testserver.Server, database string) *rig {
	t.Helper()
	r := newRigAt(t, server, database, store.Options{Server: store.ServerOptions{Effects: 2}})
	r.exec(`create table piece (id int primary key, n tinyint not null check (n >= 0), name varchar(3))`,
		`insert into piece values (1, 1, 'a'), (2, 2, 'b')`,
		`create table child (piece int, foreign key (piece) references piece (id))`, `insert into child values (2)`,
		`create user if not exists nobody`)
	return r
}

// check provokes the error and looks it up.
func (p provocation) check(r *rig) {
	r.Helper()
	err := p.by(r)
	if err == nil || mysql.Fault(err) != p.want || r.store.Classify(err) != p.class {
		r.Errorf("%s: error %v has fault %q and class %q, want %q and %q",
			p.name, err, mysql.Fault(err), r.store.Classify(err), p.want, p.class)
	}
}

func TestEachErrorOfTheServerHasItsFault(t *testing.T) {
	t.Parallel()
	for _, p := range append(faultsOfTheStore(), faultsOfTheStatement()...) {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			d := servers.MariaDB(t)
			p.check(newPieces(t, d.Server, d.Name))
		})
	}
}

func TestAServerThatIsFullOrGoneGivesTheStoresFault(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t, testserver.Options{Volatile: true, Settings: map[string]string{
		"max_connections": "30",
	}})
	r := newPieces(t, server, "test")
	r.exec(`create user clerk`, `grant all on test.* to clerk`)
	const class = driver.ClassTransient
	for _, p := range []provocation{
		{"too many connections", store.FaultTooManyConnections, class, tooMany},
		{"too many of the user", store.FaultTooManyConnections, class, func(r *rig) error {
			r.exec(`alter user clerk with max_user_connections 3`)
			defer r.exec(`alter user clerk with max_user_connections 0`)
			return tooMany(r)
		}},
		{"disk full", store.FaultDiskFull, class, diskFull},
		{"demoted", store.FaultReadOnly, class, func(r *rig) error {
			r.exec(`set global read_only = 1`)
			defer r.exec(`set global read_only = 0`)
			return asClerk(r, `insert into piece values (9, 9, 'c')`)
		}},
		{"stopped", store.FaultConnectionLost, class, during(func(r *rig, _ int) error { return r.server.Stop() })},
		// The network's error does not say whose it is: a handler has other connections, too.
		{"no server", store.FaultConnectionLost, "", func(r *rig) error { return asClerk(r, `select 1`) }},
		{"killed", store.FaultConnectionLost, class, func(r *rig) error {
			if err := r.server.Start(); err != nil {
				r.Fatal(err)
			}
			return during(func(r *rig, _ int) error { return r.server.Kill() })(r)
		}},
	} {
		p.check(r)
	}
}

// MariaDB 10.11 hangs up where MySQL says why; and some errors are MySQL's alone.
func TestErrorsThatMariaDBDoesNotGiveHaveTheirFaults(t *testing.T) {
	t.Parallel()
	for number, want := range map[uint16]store.Fault{
		1053: store.FaultShutdown, 4031: store.FaultIdleTimeout, 3169: store.FaultConnectionLost,
		3572: store.FaultLockTimeout, 3024: store.FaultStatementTimeout, 3819: store.FaultConstraint,
	} {
		if got := mysql.Fault(&engine.MySQLError{Number: number}); got != want {
			t.Errorf("error %d has fault %q, want %q", number, got, want)
		}
	}
}

// tooMany is what one gets who is let in no more.
func tooMany(r *rig) error {
	r.Helper()
	hog, err := r.server.Open("clerk", "test")
	if err != nil {
		r.Fatal(err)
	}
	defer func() { _ = hog.Close() }()
	for range 40 {
		c, err := hog.Conn(r.soon())
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
	}
	return nil
}

// asClerk runs a statement as a user without a superuser's rights.
func asClerk(r *rig, stmt string) error {
	r.Helper()
	db, err := r.server.Open("clerk", "test")
	if err != nil {
		r.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(r.soon(), stmt)
	return err
}

// diskFull fills a small disk, where one can be had.
func diskFull(r *rig) error {
	r.Helper()
	dir, err := r.server.SmallDisk(4 << 20)
	if err != nil {
		r.Logf("the table is checked without a full disk: %v", err)
		return &engine.MySQLError{Number: 1114}
	}
	// Values that do not fit into a page could crash MariaDB 10.11 here.
	r.exec(`create table big (x varchar(500)) data directory = '` + dir + `'`)
	_, err = r.store.DB().ExecContext(r.soon(), `insert into big select repeat('x', 500) from seq_1_to_20000`)
	return err
}

func TestAHandlerWithoutTheRightFailsByItself(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t, testserver.Options{Volatile: true})
	newPieces(t, server, "test").exec(`create database secret`, `create table secret.piece (id int)`,
		`create user clerk`, `grant all on test.* to clerk`, `grant select on secret.* to clerk`)
	st := openStore(t, "mysql://clerk@"+server.Addr()+"/test", store.Options{})
	r := &rig{T: t, server: server, store: st}
	c, err := st.Consume(r.soon(), driver.Subscription{Queues: []string{"q"}, Lease: time.Minute, Worker: "w"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	r.consumer = c
	d, err := r.among(exec1(`insert into secret.piece values (1)`))
	if mysql.Fault(err) != store.FaultPermission || st.Classify(err) != "" {
		t.Errorf("error %v has fault %q and class %q, want %q and none", err, mysql.Fault(err), st.Classify(err),
			store.FaultPermission)
	}
	r.undone(d)
}
