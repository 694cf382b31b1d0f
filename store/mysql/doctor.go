package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/migrate"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/pool"
)

// An examiner looks at the live server for Store.Examine.
type examiner struct {
	db    *sql.DB
	sizes pool.Options
	names store.Names
}

// checks are what doctor looks at.
func (x examiner) checks() []store.Check {
	return []store.Check{
		{ID: "MYSQL-VERSION", Run: x.version},
		{ID: "MYSQL-SCHEMA", Run: x.schema},
		{ID: "MYSQL-INDEX", Run: x.indexes},
		{ID: "MYSQL-DURABILITY", Run: x.durability},
		{ID: "MYSQL-CONNECTIONS", Run: x.connections},
		{ID: "MYSQL-TIMEOUTS", Run: x.timeouts},
		{ID: "MYSQL-ISOLATION", Run: x.isolation},
		{ID: "MYSQL-PACKET", Run: x.packet},
		{ID: "MYSQL-SNAPSHOT", Run: x.snapshot},
		{ID: "MYSQL-CLOCK", Run: x.clock},
		{ID: "MYSQL-DISK", Run: x.disk},
	}
}

func ok(format string, args ...any) store.Finding {
	return store.Finding{Level: store.LevelOK, Evidence: fmt.Sprintf(format, args...)}
}

func (x examiner) version(ctx context.Context) (store.Finding, error) {
	var version, comment string
	err := x.db.QueryRowContext(ctx, `select version(), @@version_comment`).Scan(&version, &comment)
	return ok("%s (%s)", version, comment), err
}

func (x examiner) schema(ctx context.Context) (store.Finding, error) {
	return store.JudgeSchema(schema(x.names).Status(ctx, x.db))
}

// These find the keys of a table in a migration.
var (
	tableStatement = regexp.MustCompile(`(?is)create table if not exists (\w+) \((.*?)\n\)`)
	alterStatement = regexp.MustCompile(`(?is)'alter table (\w+)\s(.*?)', 'do 0'`)
	keyAdded       = regexp.MustCompile(`\badd (key) (\w+) (\(.*?\))`)
	keyDropped     = regexp.MustCompile(`\bdrop key (\w+)`)
	keyLine        = regexp.MustCompile(`(?m)^  ((?:unique )?key) (\w+) (\(.*?\)),?$`)
)

// keys lists the keys that the applied migrations made, and that none of them dropped.
func keys(ms []migrate.Migration) []migrate.Index {
	var out []migrate.Index
	for _, m := range ms {
		if m.AppliedAt.IsZero() {
			continue
		}
		for _, table := range tableStatement.FindAllStringSubmatch(m.SQL, -1) {
			out = append(out, keysOf(table[1], keyLine, table[2])...)
		}
		for _, table := range alterStatement.FindAllStringSubmatch(m.SQL, -1) {
			out = append(without(out, table[2]), keysOf(table[1], keyAdded, table[2])...)
		}
	}
	return out
}

// without leaves out the keys that a change of a table drops.
func without(keys []migrate.Index, change string) []migrate.Index {
	return slices.DeleteFunc(keys, func(x migrate.Index) bool {
		return slices.ContainsFunc(keyDropped.FindAllStringSubmatch(change, -1), func(dropped []string) bool {
			return dropped[1] == x.Name
		})
	})
}

func keysOf(table string, line *regexp.Regexp, body string) (out []migrate.Index) {
	for _, key := range line.FindAllStringSubmatch(body, -1) {
		out = append(out, migrate.Index{
			Name: key[2], SQL: fmt.Sprintf("alter table %s add %s %s %s;", table, key[1], key[2], key[3]),
		})
	}
	return out
}

func (x examiner) indexes(ctx context.Context) (store.Finding, error) {
	ms, err := schema(x.names).Status(ctx, x.db)
	if err != nil {
		return store.Finding{}, err
	}
	var there []string
	err = pool.Each(ctx, x.db, `select distinct index_name from information_schema.statistics
		where table_schema = database()`, func(r store.Row) error {
		var name string
		err := r.Scan(&name)
		there = append(there, name)
		return err
	})
	return store.JudgeIndexes(keys(ms), there), err
}

// ask asks the server anew.
func (x examiner) ask(ctx context.Context) (server, error) {
	conn, err := x.db.Conn(ctx)
	if err != nil {
		return server{}, err
	}
	defer func() { _ = conn.Close() }()
	return ask(ctx, conn)
}

func (x examiner) durability(ctx context.Context) (store.Finding, error) {
	known, err := x.ask(ctx)
	if err != nil {
		return store.Finding{}, err
	}
	var flush, binlog, sync, doublewrite string
	err = x.db.QueryRowContext(ctx, `select @@innodb_flush_log_at_trx_commit, @@log_bin, @@sync_binlog,
		@@innodb_doublewrite`).Scan(&flush, &binlog, &sync, &doublewrite)
	f := ok("%s: innodb_flush_log_at_trx_commit=%s, log_bin=%s, sync_binlog=%s, innodb_doublewrite=%s",
		known.durability, flush, binlog, sync, doublewrite)
	switch {
	case isOff(doublewrite):
		f.Level, f.Fix = store.LevelError, "set innodb_doublewrite = on: without it a power cut may tear pages"
	case known.durability != driver.PowerSafe:
		f.Level, f.Fix = store.LevelWarning, "set innodb_flush_log_at_trx_commit = 1, and sync_binlog = 1 where log_bin is "+
			"on: without them a power cut loses the last commits"
	}
	return f, err
}

// isOff reads a switch, which servers write in two ways.
func isOff(value string) bool { return value == "0" || strings.EqualFold(value, "off") }

// places is how many connections the server has for this user, how many this
// user sees, and how many processes have workers.
const places = `select least(@@max_connections, coalesce(nullif(@@max_user_connections, 0), 1000000)),
	(select count(*) from information_schema.processlist),
	(select count(distinct host, pid) from posthorn_worker where seen_at > (` + now + `) - 60000)`

func (x examiner) connections(ctx context.Context) (store.Finding, error) {
	p := pool.Places{Process: x.sizes.Connections()}
	err := x.db.QueryRowContext(ctx, x.names.In(places)).Scan(&p.Usable, &p.Used, &p.Processes)
	return p.Judge(), err
}

// timeouts are those that hurt. A connection that was idle for 10 seconds is
// tried before it is used.
func timeouts() []pool.Timeout {
	const pause = "a handler that pauses loses its transaction"
	return []pool.Timeout{
		{Name: "wait_timeout", Least: 30 * time.Second, Harm: "connections are ended and opened again all the time"},
		{Name: "idle_transaction_timeout", Least: 10 * time.Second, Harm: pause},
		{Name: "idle_write_transaction_timeout", Least: 10 * time.Second, Harm: pause},
		{Name: "max_statement_time", Least: 5 * time.Second, Harm: "statements of handlers, and claims, are ended"},
		{Name: "max_execution_time", Least: 5 * time.Second, Harm: "queries of handlers are ended"},
	}
}

// timeLimits are in seconds, but for max_execution_time.
const timeLimits = `show session variables
	where variable_name like '%\_timeout' or variable_name in ('max_statement_time', 'max_execution_time')`

func (x examiner) timeouts(ctx context.Context) (store.Finding, error) {
	set := map[string]time.Duration{}
	err := pool.Each(ctx, x.db, timeLimits, func(r store.Row) error {
		var name, value string
		if err := r.Scan(&name, &value); err != nil {
			return err
		}
		unit := time.Second
		if name == "max_execution_time" {
			unit = time.Millisecond
		}
		if n, err := strconv.ParseFloat(value, 64); err == nil { // others are words
			set[name] = time.Duration(n * float64(unit))
		}
		return nil
	})
	return pool.JudgeTimeouts(timeouts(), set), err
}

// isolation is set for each connection by Posthorn; what is left is whether the
// server can be written.
func (x examiner) isolation(ctx context.Context) (store.Finding, error) {
	known, err := x.ask(ctx)
	if err != nil {
		return store.Finding{}, err
	}
	var isolation, readOnly, engine string
	err = x.db.QueryRowContext(ctx, `select @@`+known.isolation+`, @@global.read_only, @@global.innodb_read_only`).
		Scan(&isolation, &readOnly, &engine)
	f := ok("%s=%s, read_only=%s, innodb_read_only=%s", known.isolation, isolation, readOnly, engine)
	switch {
	case !isOff(readOnly), !isOff(engine):
		f.Level, f.Fix = store.LevelError, "this server cannot be written: name the primary in the store's address, "+
			"or all hosts of the cluster"
	case isolation != "READ-COMMITTED":
		f.Level, f.Fix = store.LevelWarning, "leave "+known.isolation+" out of session: in the configuration; Posthorn sets "+
			"READ-COMMITTED, since gap locks make workers wait for each other"
	}
	return f, err
}
