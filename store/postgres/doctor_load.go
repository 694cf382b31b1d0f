package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/pool"
)

// When an old snapshot or dead rows are worth a warning.
const (
	oldSnapshot = 100_000 // transactions since it was taken
	longAgo     = 10 * time.Minute
	manyDead    = 50_000    // dead rows that nothing has removed for longAgo
	tooManyDead = 1_000_000 // dead rows in any case
)

// snapshots are what keeps vacuum from removing dead rows, the oldest first.
// What a user may not see of others' sessions is null; the last column counts
// those.
const snapshots = `select s.age, coalesce(extract(epoch from clock_timestamp() - s.since), 0)::float8, s.who,
	(select count(*) from pg_stat_activity where datname = current_database() and query = '<insufficient privilege>')
	from (
	  select age(backend_xmin), xact_start since,
	    'session ' || pid || ' (' || coalesce(usename, '?') || ', ' || coalesce(state, '?') || ')' who
	  from pg_stat_activity where datname = current_database() and backend_xmin is not null and pid <> pg_backend_pid()
	  union all select age(transaction), prepared, 'prepared transaction ' || gid from pg_prepared_xacts
	  where database = current_database()
	  union all select age(xmin), null, 'replication slot ' || slot_name from pg_replication_slots where xmin is not null
	  union all select 0, null, ''
	) s order by 1 desc limit 1`

func (x examiner) snapshot(ctx context.Context) (store.Finding, error) {
	var (
		age, hidden int
		seconds     float64
		who         string
	)
	err := x.db.QueryRowContext(ctx, snapshots).Scan(&age, &seconds, &who, &hidden)
	since := time.Duration(seconds) * time.Second
	f := ok("no snapshot is open")
	if who != "" {
		f = ok("the oldest snapshot is %d transactions and %s old: %s", age, since, who)
	}
	switch {
	case age > oldSnapshot, since > longAgo:
		f.Level = store.LevelWarning
		f.Fix = "end what holds it (pg_terminate_backend, rollback prepared, pg_drop_replication_slot), and find out " +
			"why it stays: until then no dead row is removed, and claims become slow"
	case hidden > 0:
		f.Level = store.LevelUnknown
		f.Evidence += fmt.Sprintf("; this user may not see %d sessions", hidden)
		f.Fix = "grant pg_read_all_stats to the user of the store"
	}
	return f, err
}

// deadRows says how the table of messages is kept clean.
const deadRows = `select n_live_tup, n_dead_tup,
	coalesce(extract(epoch from clock_timestamp() - greatest(last_vacuum, last_autovacuum)), 1e9)::float8,
	current_setting('autovacuum') = 'on' and current_setting('track_counts') = 'on'
	  and not coalesce('autovacuum_enabled=false' = any (c.reloptions), false)
	from pg_stat_user_tables s join pg_class c on c.oid = s.relid where s.relid = to_regclass('posthorn_message')`

func (x examiner) vacuum(ctx context.Context) (store.Finding, error) {
	var (
		live, dead int
		seconds    float64
		automatic  bool
	)
	err := x.db.QueryRowContext(ctx, x.names.In(deadRows)).Scan(&live, &dead, &seconds, &automatic)
	f := ok("%s has %d live and %d dead rows", x.names.Table("message"), live, dead)
	switch {
	case !automatic:
		f.Level, f.Fix = store.LevelError, "turn autovacuum and track_counts on, for the server and the table"
		f.Evidence += "; autovacuum is off"
	case dead > tooManyDead, dead > manyDead && seconds > longAgo.Seconds():
		f.Level, f.Fix = store.LevelWarning, "vacuum "+x.names.Table("message")+"; if it removes nothing, see PG-SNAPSHOT, "+
			"else give autovacuum more workers and less delay"
	}
	return f, err
}

// pooler looks for something that hands out the server's sessions, such as
// PgBouncer. It cannot know the number of the process that serves it, so it
// tells another one than the server does. And it lends sessions for single
// transactions if a second connection gets the one that just served the first.
// The ears have to get past it.
func (x examiner) pooler(ctx context.Context) (store.Finding, error) {
	f, err := x.between(ctx)
	if err != nil || x.way.main == nil {
		return f, err
	}
	if err := x.way.try(ctx); err != nil {
		return store.Finding{
			Level:    store.LevelWarning,
			Evidence: fmt.Sprintf("%s; %s in the address does not work: %v", f.Evidence, x.way, err),
			Fix:      "let " + x.way.String() + " lead to the server itself: until then workers find messages by polling",
		}, nil
	}
	return ok("%s; processes wake each other by %s", f.Evidence, x.way), nil
}

// between finds what is between this process and the server.
func (x examiner) between(ctx context.Context) (store.Finding, error) {
	a, err := x.db.Conn(ctx)
	if err != nil {
		return store.Finding{}, err
	}
	defer func() { _ = a.Close() }()
	b, err := x.db.Conn(ctx)
	if err != nil {
		return store.Finding{}, err
	}
	defer func() { _ = b.Close() }()
	told, served, err := process(ctx, a)
	_, other, err2 := process(ctx, b)
	switch {
	case err != nil || err2 != nil:
		return store.Finding{}, errors.Join(err, err2)
	case told == served:
		return ok("none: the server itself answers"), nil
	case served == other:
		return store.Finding{
			Level:    store.LevelWarning,
			Evidence: "a pooler lends sessions for single transactions, as PgBouncer does with pool_mode=transaction",
			Fix: "nothing that must be done: what handlers leave is undone with each transaction, and workers find " +
				"messages by polling; to have them woken at once, add listen=HOST:PORT of the server itself to the address",
		}, nil
	default:
		return ok("a pooler is in between; it keeps a session for each connection; workers find messages by polling, " +
			"unless listen=HOST:PORT in the address leads to the server itself"), nil
	}
}

// process is the number of the server's process, as it was told when the
// connection was made, and as the process itself knows it.
func process(ctx context.Context, conn *sql.Conn) (told, served int, err error) {
	err = native(conn, func(c *pgx.Conn) error {
		told = int(c.PgConn().PID())
		return c.QueryRow(ctx, "select pg_backend_pid()").Scan(&served)
	})
	return told, served, err
}

func (x examiner) clock(ctx context.Context) (store.Finding, error) {
	return pool.MeasureClock(ctx, x.db, statements().Now)
}

func (x examiner) disk(context.Context) (store.Finding, error) {
	return store.Finding{
		Level: store.LevelUnknown, Evidence: "PostgreSQL does not tell how much room its disk has",
		Fix: "watch the disk of pg_wal and of the data directory on the server's host",
	}, nil
}
