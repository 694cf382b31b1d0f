package postgres

import (
	"context"
	"database/sql"
	"fmt"
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
	way   line // of the ears
}

// checks are what doctor looks at.
func (x examiner) checks() []store.Check {
	return []store.Check{
		{ID: "PG-VERSION", Run: x.version},
		{ID: "PG-SCHEMA", Run: x.schema},
		{ID: "PG-INDEX", Run: x.indexes},
		{ID: "PG-DURABILITY", Run: x.durability},
		{ID: "PG-CONNECTIONS", Run: x.connections},
		{ID: "PG-TIMEOUTS", Run: x.timeouts},
		{ID: "PG-ISOLATION", Run: x.isolation},
		{ID: "PG-SNAPSHOT", Run: x.snapshot},
		{ID: "PG-VACUUM", Run: x.vacuum},
		{ID: "PG-POOLER", Run: x.pooler},
		{ID: "PG-CLOCK", Run: x.clock},
		{ID: "PG-DISK", Run: x.disk},
	}
}

func ok(format string, args ...any) store.Finding {
	return store.Finding{Level: store.LevelOK, Evidence: fmt.Sprintf(format, args...)}
}

func (x examiner) version(ctx context.Context) (store.Finding, error) {
	var version string
	err := x.db.QueryRowContext(ctx, `select current_setting('server_version')`).Scan(&version)
	return ok("PostgreSQL %s", version), err
}

func (x examiner) schema(ctx context.Context) (store.Finding, error) {
	return store.JudgeSchema(schema(x.names).Status(ctx, x.db))
}

// validIndexes are the indexes of the store's schema that a query may use.
const validIndexes = `select c.relname from pg_index i join pg_class c on c.oid = i.indexrelid
	where i.indisvalid and i.indisready
	  and c.relnamespace = (select relnamespace from pg_class where oid = to_regclass('posthorn_message'))`

func (x examiner) indexes(ctx context.Context) (store.Finding, error) {
	ms, err := schema(x.names).Status(ctx, x.db)
	if err != nil {
		return store.Finding{}, err
	}
	var there []string
	err = pool.Each(ctx, x.db, x.names.In(validIndexes), func(r store.Row) error {
		var name string
		err := r.Scan(&name)
		there = append(there, name)
		return err
	})
	return store.JudgeIndexes(migrate.Indexes(ms), there), err
}

func (x examiner) durability(ctx context.Context) (store.Finding, error) {
	var fsync, commit, pages string
	err := x.db.QueryRowContext(ctx, `select current_setting('fsync'), current_setting('synchronous_commit'),
		current_setting('full_page_writes')`).Scan(&fsync, &commit, &pages)
	f := ok("%s: fsync=%s, synchronous_commit=%s, full_page_writes=%s",
		durabilityOf(fsync, commit), fsync, commit, pages)
	switch {
	case fsync == "off":
		f.Level, f.Fix = store.LevelError, "set fsync = on in postgresql.conf: without it a power cut may ruin the database"
	case pages == "off":
		f.Level, f.Fix = store.LevelError, "set full_page_writes = on in postgresql.conf: a power cut may tear pages"
	case durabilityOf(fsync, commit) != driver.PowerSafe:
		f.Level, f.Fix = store.LevelWarning, "set synchronous_commit = on, for the server, the role or in session:; "+
			"without it a power cut loses the last commits"
	}
	return f, err
}

// usable is how many connections the server has for those who are not
// superusers; reserved_connections came with version 16.
const usable = `current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
	- coalesce(current_setting('reserved_connections', true)::int, 0)`

// places is how many connections this user may have to this database, how many
// there are, and how many processes have workers.
const places = `select least(` + usable + `, nullif(r.rolconnlimit, -1), nullif(d.datconnlimit, -1)),
	(select coalesce(sum(numbackends), 0) from pg_stat_database),
	(select count(distinct (host, pid)) from posthorn_worker
	  where seen_at > extract(epoch from clock_timestamp()) * 1000 - 60000)
	from pg_roles r, pg_database d where r.rolname = current_user and d.datname = current_database()`

func (x examiner) connections(ctx context.Context) (store.Finding, error) {
	p := pool.Places{Process: x.sizes.Connections() + pool.EarConns}
	err := x.db.QueryRowContext(ctx, x.names.In(places)).Scan(&p.Usable, &p.Used, &p.Processes)
	return p.Judge(), err
}

// timeouts are those that hurt. Idle connections are tried every 15 seconds at
// most; effects and handlers in a transaction may take some seconds.
func timeouts() []pool.Timeout {
	return []pool.Timeout{
		{Name: "idle_session_timeout", Least: 30 * time.Second,
			Harm: "connections are ended and opened again all the time"},
		{Name: "idle_in_transaction_session_timeout", Least: 10 * time.Second,
			Harm: "a handler that pauses loses its transaction"},
		{Name: "transaction_timeout", Least: 30 * time.Second,
			Harm: "a handler that takes longer loses its transaction"},
		{Name: "statement_timeout", Least: 5 * time.Second,
			Harm: "statements of handlers, and claims from a full queue, are ended"},
	}
}

func (x examiner) timeouts(ctx context.Context) (store.Finding, error) {
	set := map[string]time.Duration{}
	err := pool.Each(ctx, x.db, `select name, setting::bigint from pg_settings where name like '%timeout' and unit = 'ms'`,
		func(r store.Row) error {
			var name string
			var ms int64
			err := r.Scan(&name, &ms)
			set[name] = time.Duration(ms) * time.Millisecond
			return err
		})
	return pool.JudgeTimeouts(timeouts(), set), err
}

func (x examiner) isolation(ctx context.Context) (store.Finding, error) {
	var isolation, readOnly string
	err := x.db.QueryRowContext(ctx, `select current_setting('default_transaction_isolation'),
		current_setting('transaction_read_only')`).Scan(&isolation, &readOnly)
	f := ok("default_transaction_isolation=%s, transaction_read_only=%s", isolation, readOnly)
	switch {
	case readOnly == "on":
		f.Level, f.Fix = store.LevelError, "this server cannot be written: name the primary in the store's address, "+
			"or all hosts of the cluster"
	case isolation != "read committed":
		f.Level, f.Fix = store.LevelWarning, "set default_transaction_isolation to read committed for this user: "+
			"claims of several workers fail and are tried again under "+isolation
	}
	return f, err
}
