package mysql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/posthorn/posthorn/store/guard"
	"github.com/posthorn/posthorn/store/pool"
)

// counters are what the server counts of a session whose state may differ
// afterwards. The server counts in procedures and triggers, too, and "set
// statement … for", which sets nothing beyond its statement, it does not count.
func counters() map[string]string {
	return map[string]string{
		"com_set_option": "setting, variable or role", "com_change_db": "default database",
		"com_create_table": "table", "com_create_temporary_table": "temporary table", // one counter in MySQL
		"com_prepare_sql": "prepared statement", "com_ha_open": "handler of a table",
		"com_lock_tables": "table lock", "com_flush": "flush",
	}
}

// look asks for the counters, and for what is there now: user variables, the
// default database, and user locks, which it releases.
func look(maria bool) string {
	names := "'" + strings.Join(slices.Sorted(maps.Keys(counters())), "', '") + "'"
	schema, variables := "performance_schema", ""
	if maria {
		schema = "information_schema"
		variables = " union all select 'user variable', count(*) from information_schema.user_variables"
	}
	return `select lower(variable_name), variable_value from ` + schema + `.session_status where variable_name in (` +
		names + `) union all select 'user lock', release_all_locks()
		union all select 'default database', coalesce(database(), '')` + variables
}

// state is how the session is now.
func (w *watched) state(ctx context.Context) (map[string]string, error) {
	out, err := pairs(ctx, w.rawConn, w.look)
	if err != nil {
		return nil, fmt.Errorf("inspect session: %w", err)
	}
	return out, nil
}

// pairs runs a query for names and values.
func pairs(ctx context.Context, conn rawConn, query string) (map[string]string, error) {
	rows, err := conn.QueryContext(ctx, query, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // all of them were read
	out := map[string]string{}
	row := make([]sqldriver.Value, 2)
	for {
		err := rows.Next(row)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out[text(row[0])] = text(row[1])
	}
}

func text(v sqldriver.Value) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return fmt.Sprint(v)
}

// inspectSession says what a handler left in the session. A commit runs nothing of the
// application's own, so that after it nothing more can be found than before it.
func inspectSession(ctx context.Context, conn *sql.Conn, when pool.When) (dirty string, err error) {
	if when == pool.Rest {
		return "", nil
	}
	err = conn.Raw(func(c any) error {
		g, ok := c.(*guard.Conn)
		if !ok {
			return errNoInterface
		}
		w, ok := g.Raw.(*watched)
		if !ok {
			return errNoInterface
		}
		dirty, err = w.changed(ctx)
		return err
	})
	return dirty, err
}

// changed names the first difference to the session as it was opened.
func (w *watched) changed(ctx context.Context) (string, error) {
	at, err := w.state(ctx)
	if err != nil {
		return "", err
	}
	for _, name := range slices.Sorted(maps.Keys(at)) {
		if at[name] == w.opened[name] {
			continue
		}
		if what := counters()[name]; what != "" {
			name = what
		}
		return name, nil
	}
	return "", nil
}
