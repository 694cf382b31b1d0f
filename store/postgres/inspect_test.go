package postgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	"github.com/posthorn/posthorn/store/pool"
	"github.com/posthorn/posthorn/store/postgres"
)

// An inspected session is one that an inspector has found as it was, a moment ago.
type inspected struct {
	conn *sql.Conn
	look func(ctx context.Context, conn *sql.Conn, when pool.When) (string, error)
}

func inspectedSession(t *testing.T, db *sql.DB) *inspected {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s := &inspected{conn: conn, look: postgres.Inspector(text(t, db, "select current_user::text"))}
	for _, when := range []pool.When{pool.After, pool.Before, pool.After} {
		s.finds(t, when, "")
	}
	return s
}

func (s *inspected) exec(t *testing.T, stmt string) {
	t.Helper()
	if _, err := s.conn.ExecContext(t.Context(), stmt); err != nil {
		t.Fatalf("%s: %v", stmt, err)
	}
}

// finds makes sure that a look finds that, and nothing else.
func (s *inspected) finds(t *testing.T, when pool.When, want string) {
	t.Helper()
	left, err := s.look(t.Context(), s.conn, when)
	if err != nil || left != want {
		t.Errorf("found %q, %v, want %q", left, err, want)
	}
}

// Whatever has set it, and whether or not the transaction is over: a setting is found that has another
// value than a moment ago. Afterwards it has that again.
func TestASettingIsFoundByItsValue(t *testing.T) {
	t.Parallel()
	db := servers.PostgreSQL(t).Open(t)
	for setting, to := range map[string]string{
		"work_mem":                    "77MB",
		"search_path":                 "pg_temp, public",
		"statement_timeout":           "31s",
		"standard_conforming_strings": "off",
		"DateStyle":                   "SQL, DMY",
		"application_name":            "other",
		"session_replication_role":    "replica",
		"seq_page_cost":               "1.25",
	} {
		t.Run(setting, func(t *testing.T) {
			s := inspectedSession(t, db)
			set := fmt.Sprintf("do $$ begin perform pg_catalog.set_config('%s', '%s', false); end $$", setting, to)
			s.exec(t, "begin")
			s.exec(t, set)
			s.finds(t, pool.Before, "setting "+setting)
			s.exec(t, "commit")
			s.finds(t, pool.After, "setting "+setting)
			s.finds(t, pool.After, "")
			s.exec(t, "begin")
			s.exec(t, "set local "+setting+" from current")
			s.finds(t, pool.Before, "")
			s.exec(t, "rollback")
		})
	}
}

// What a library has brought is found as soon as it is known that there is such a setting.
func TestASettingOfALibraryIsFound(t *testing.T) {
	t.Parallel()
	db := servers.PostgreSQL(t).Open(t)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	s := &inspected{conn: conn, look: postgres.Inspector(text(t, db, "select current_user::text"))}
	s.exec(t, "do $$ begin null; end $$") // PL/pgSQL is loaded
	s.finds(t, pool.After, "")
	s.exec(t, "begin")
	s.exec(t, "select pg_catalog.set_config('plpgsql.extra_warnings', 'all', false)")
	s.finds(t, pool.Before, "setting plpgsql.extra_warnings")
}

// Before a commit a setting that was set to what it was is nobody's trace.
func TestASettingThatIsWhatItWasIsNotFound(t *testing.T) {
	t.Parallel()
	db := servers.PostgreSQL(t).Open(t)
	s := inspectedSession(t, db)
	s.exec(t, "begin")
	s.exec(t, `do $$ begin perform set_config('work_mem', current_setting('work_mem'), false); end $$`)
	var n int
	err := s.conn.QueryRowContext(t.Context(), `select count(*) from pg_settings where source = 'session'`).Scan(&n)
	if err != nil || n != 1 {
		t.Fatalf("%d settings are the session's, %v, want 1", n, err)
	}
	s.finds(t, pool.Before, "")
}

// Names of a handler's stand for nothing in a look.
func TestALookIsNotLedAstray(t *testing.T) {
	t.Parallel()
	s := inspectedSession(t, servers.PostgreSQL(t).Open(t))
	s.exec(t, "begin")
	s.exec(t, "create temporary table text (a integer, b integer)")
	s.finds(t, pool.Before, "temporary schema")
}
