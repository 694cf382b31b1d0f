package faulttest_test

import (
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/posthorn/posthorn/internal/proxy"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/transport/open"
)

// A kind is one kind of store, and how to harm its server.
type kind struct {
	name     string
	start    func(testserver.Test, testserver.Options) *testserver.Server
	protocol proxy.Protocol
	dsn      string            // of the store at an address
	prepare  []string          // makes the user and the database of the workers
	readOnly []string          // lets nobody write
	writable []string          // undoes it
	mine     string            // → the ids of the workers' connections
	kill     string            // one of them
	quick    map[string]string // settings that survive a kill of the server, though no power cut
	idle     map[string]string
	hasty    map[string]string // settings that find deadlocks soon
	insert   string            // an effect
	update   string            // one of a pair of rows
	conflict string            // fails as if two transactions could not be ordered
	now      string            // → the server's clock in seconds
	database string
}

// kinds are the stores that have a server.
func kinds() []kind { return []kind{postgreSQL(), mariaDB()} }

// postgreSQL is harmed by its superuser. The workers are none, so that they
// have no connection in reserve.
func postgreSQL() kind {
	return kind{
		name: "PostgreSQL", start: testserver.PostgreSQL, protocol: proxy.PostgreSQL,
		dsn:      "postgres://posthorn@%s/posthorn?sslmode=disable",
		prepare:  []string{"create role posthorn login", "create database posthorn owner posthorn", "create role hog login"},
		readOnly: []string{"alter system set default_transaction_read_only = on", "select pg_reload_conf()"},
		writable: []string{
			"set default_transaction_read_only = off", "alter system reset default_transaction_read_only",
			"select pg_reload_conf()",
		},
		mine:  "select pid from pg_stat_activity where usename = 'posthorn'",
		kill:  "select pg_terminate_backend(%d)",
		quick: map[string]string{"fsync": "off", "full_page_writes": "off"},
		idle: map[string]string{
			"idle_session_timeout": "2s", "idle_in_transaction_session_timeout": "2s",
		},
		insert:   "insert into effect (n) values ($1)",
		hasty:    map[string]string{"deadlock_timeout": "50ms"},
		update:   "update pair set v = v + 1 where id = $1",
		conflict: "do $$ begin raise exception 'forced' using errcode = '40001'; end $$",
		now:      "select extract(epoch from clock_timestamp())::bigint",
		database: "posthorn",
	}
}

// mariaDB is harmed by root.
func mariaDB() kind {
	return kind{
		name: "MariaDB", start: testserver.MariaDB, protocol: proxy.MySQL,
		dsn: "mysql://posthorn@%s/posthorn",
		prepare: []string{
			"create database posthorn", "create user posthorn@'127.0.0.1'",
			"grant all on posthorn.* to posthorn@'127.0.0.1'",
			"create user hog@'127.0.0.1'", "grant select on posthorn.* to hog@'127.0.0.1'",
		},
		readOnly: []string{"set global read_only = 1"},
		writable: []string{"set global read_only = 0"},
		mine:     "select id from information_schema.processlist where user = 'posthorn'",
		kill:     "kill %d",
		quick:    map[string]string{"innodb_flush_log_at_trx_commit": "2"},
		idle:     map[string]string{"wait_timeout": "2", "idle_transaction_timeout": "2"},
		insert:   "insert into effect (n) values (?)",
		update:   "update pair set v = v + 1 where id = ?",
		conflict: "signal sqlstate '40001' set mysql_errno = 1213, message_text = 'forced'",
		now:      "select unix_timestamp()",
		database: "posthorn",
	}
}

// onEachKind runs a test on each kind of store that can be opened.
func onEachKind(t *testing.T, test func(t *testing.T, k kind)) {
	t.Helper()
	t.Parallel()
	for _, k := range kinds() {
		t.Run("on "+k.name, func(t *testing.T) {
			t.Parallel()
			if err := open.CheckStore(k.at("127.0.0.1:1")); errors.Is(err, open.ErrScheme) {
				t.Skip(err)
			}
			test(t, k)
		})
	}
}

// at is the address of the store on a server, or on a proxy before it.
func (k kind) at(addr string) string { return fmt.Sprintf(k.dsn, addr) }

// with adds settings to those that make the server quick.
func (k kind) with(settings map[string]string) testserver.Options {
	o := testserver.Options{Settings: maps.Clone(k.quick)}
	maps.Copy(o.Settings, settings)
	return o
}
