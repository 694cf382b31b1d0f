package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn/store/pool"
)

// Parts of what looks for what handlers left in the session. The names are qualified: the
// search path may be a handler's.
const (
	// leftovers is empty where the session is as it was. It has room for what looks at settings.
	leftovers = ` coalesce(
  (select 'role ' || current_user where current_user <> $1 or session_user <> $1), %s
  (select 'temporary schema' where pg_catalog.pg_my_temp_schema() <> 0),
  (select 'advisory lock' from pg_catalog.pg_locks
   where locktype = 'advisory' and pid = pg_catalog.pg_backend_pid() limit 1),
  (select 'listen ' || c from pg_catalog.pg_listening_channels() c limit 1),
  (select 'cursor ' || name from pg_catalog.pg_cursors where name <> '' limit 1),
  (select 'prepared statement ' || name from pg_catalog.pg_prepared_statements where from_sql limit 1), '')`
	// sum is of the values of settings, in some order.
	sum = `pg_catalog.hashtextextended(pg_catalog.string_agg(pg_catalog.current_setting(name, true), E'\x01'%s), 0)`
)

// An inspector looks at the sessions of a user.
//
// To look at the settings makes a row of each of some hundreds, which is most of what that
// costs. So before the commit of a transaction that handlers share it compares a sum of their values with
// that of the last look, a fifth of the work, and has a look only if it differs: a setting that was set to
// the value that it had is nobody's trace there. What settings there are it finds out by looking at all of
// them once a second, since a library that is loaded brings its own; those that one has
// brought since, and the application's own, whose names have a dot and which are in no catalog, are
// reset without being found where a function has set them, outside the text of a statement.
//
// After a transaction of one handler it looks at all: what ends with the transaction, like SET TRANSACTION, has
// its value again, and still stands in the catalog as the session's.
//
// After a commit settings are not looked at again if they were before it. What a
// commit runs of the application's own, deferred triggers, runs before that look then
// (PostgreSQL manual, SET CONSTRAINTS); what is set by one that defers another, and
// that one to the commit, is reset without being found.
type inspector struct{ user, whole, plain, rest string }

func newInspector(user string) inspector {
	return inspector{
		user: user,
		whole: `with s as materialized (
  select name, source from pg_catalog.pg_settings where context in ('user', 'superuser'))
select` + fmt.Sprintf(leftovers, `(select 'setting ' || name from s where source = 'session' limit 1),`) + `,
  (select pg_catalog.array_agg(name order by name) from s),
  (select ` + fmt.Sprintf(sum, " order by name") + ` from s)`,
		plain: `select` + fmt.Sprintf(leftovers, `
  (select 'setting ' || name from pg_catalog.pg_settings where source = 'session' limit 1),`),
		rest: `select` + fmt.Sprintf(leftovers, ""),
	}
}

// trust is how long an inspector believes that a session has no other settings than it had.
const trust = time.Second

// settings are what is known of a session's settings.
type settings struct {
	names []string
	look  string // at the sum of their values, or at them
	sum   int64
	whole time.Time // when all were looked at
}

// settingsKey is where settings are kept in a connection.
const settingsKey = "posthorn.settings"

// settingsOf are those of a connection.
func settingsOf(c *pgx.Conn) *settings {
	data := c.PgConn().CustomData()
	s, ok := data[settingsKey].(*settings)
	if !ok {
		s = &settings{}
		data[settingsKey] = s
	}
	return s
}

// are says which settings there are, and the sum of their values.
func (s *settings) are(names []string, values int64) {
	if s.whole, s.sum = time.Now(), values; slices.Equal(s.names, names) {
		return
	}
	plain := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return strings.ContainsFunc(name, func(r rune) bool {
			return r != '.' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
		})
	})
	s.names, s.look = names, `with s as materialized (select `+fmt.Sprintf(sum, "")+` as sum
  from pg_catalog.unnest('{`+strings.Join(plain, ",")+`}'::pg_catalog.text[]) name
  where current_user = $1 and session_user = $1)
select`+fmt.Sprintf(leftovers, `(select 'setting ' || name from pg_catalog.pg_settings
   where source = 'session' and (select sum from s) is distinct from $2 limit 1),`)+`,
  coalesce((select sum from s), 0)`
}

// queue adds the look at the session.
func (i inspector) queue(b *pgx.Batch, s *settings, when pool.When, left *string) {
	known := time.Since(s.whole) <= trust
	switch {
	case when == pool.Rest:
		b.Queue(i.rest, i.user).QueryRow(func(row pgx.Row) error { return row.Scan(left) })
	case when == pool.After && known:
		b.Queue(i.plain, i.user).QueryRow(func(row pgx.Row) error { return row.Scan(left) })
	case !known:
		b.Queue(i.whole, i.user).QueryRow(func(row pgx.Row) error {
			var (
				names  []string
				values int64
			)
			err := row.Scan(left, &names, &values)
			if err == nil && *left == "" {
				s.are(names, values)
			}
			return err
		})
	default:
		b.Queue(s.look, i.user, s.sum).QueryRow(func(row pgx.Row) error {
			var values int64
			err := row.Scan(left, &values)
			if err == nil && *left == "" { // another one is the server's doing
				s.sum = values
			}
			return err
		})
	}
}

// inspect says what handlers left in the session. Whoever has left something loses the
// connection.
func (i inspector) inspect(ctx context.Context, conn *sql.Conn, when pool.When) (left string, err error) {
	err = native(conn, func(c *pgx.Conn) error {
		b := &pgx.Batch{}
		if when == pool.Before {
			b.Queue("set constraints all immediate")
		}
		i.queue(b, settingsOf(c), when, &left)
		if when != pool.Before {
			b.Queue("reset all")
		}
		return c.SendBatch(ctx, b).Close()
	})
	if err != nil && when != pool.Before { // else it is what a commit would have said
		err = fmt.Errorf("inspect session: %w", err)
	}
	return left, err
}
