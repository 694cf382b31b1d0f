package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // registers the driver that all the systems share

	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
)

// sqliteScheme begins the addresses of SQLite files.
const sqliteScheme = "sqlite:"

func sqliteKind() kind {
	return kind{
		name: "sqlite", title: "SQLite", effect: effectInsert, claims: 80_000,
		notes: "All use the same SQLite driver; the peers have one connection, with Posthorn's pragmas, and keep in " +
			"memory as much of what they may undo (ADR 59). " +
			"Limit of the machine: one connection and prepared statements",
		launch:  launchFolder,
		examine: examineSQLite,
		bare:    openBareFile,
		hold:    holdSQLite, flow: 0.2,
	}
}

// A folder is the host of SQLite: each database is in a directory of its own.
type folder struct {
	dir   string
	names numbered
}

func launchFolder(dir string) (host, error) {
	return &folder{dir: dir}, errors.Join(os.MkdirAll(dir, 0o700), likePosthorn())
}

// likePosthorn has SQLite set up for the process as Posthorn does, whoever uses it first.
func likePosthorn() error {
	dir, err := os.MkdirTemp("", "posthorn-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s, err := sqlite.Open(context.Background(), sqliteScheme+filepath.Join(dir, "first.db"), store.Options{})
	if err != nil {
		return err
	}
	return s.Close()
}

func (f *folder) fresh(context.Context) (string, error) {
	dir := filepath.Join(f.dir, f.names.next())
	return sqliteScheme + filepath.Join(dir, "bench.db"), os.Mkdir(dir, 0o700)
}

func (f *folder) drop(_ context.Context, address string) error {
	return os.RemoveAll(filepath.Dir(strings.TrimPrefix(address, sqliteScheme)))
}

func (f *folder) close() error { return os.RemoveAll(f.dir) }

// openPool opens the pool of a peer: one connection, as goqite and River
// advise and as measures best for backlite, with the pragmas of Posthorn's.
func openPool(address string) (*sql.DB, error) {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(10000)", "journal_mode(wal)", "synchronous(full)", "foreign_keys(on)",
		"wal_autocheckpoint(4000)", "journal_size_limit(67108864)",
	}}
	db, err := sql.Open("sqlite", "file:"+strings.TrimPrefix(address, sqliteScheme)+"?"+q.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(1)
	return db, nil
}

func examineSQLite(ctx context.Context, _ string, db *sql.DB) (string, error) {
	var engine, mode string
	var level int
	if err := db.QueryRowContext(ctx, "select sqlite_version()").Scan(&engine); err != nil {
		return "", err
	}
	if err := db.QueryRowContext(ctx, "pragma journal_mode").Scan(&mode); err != nil {
		return "", err
	}
	if err := db.QueryRowContext(ctx, "pragma synchronous").Scan(&level); err != nil {
		return "", err
	}
	if mode != "wal" || level != 2 {
		return "", fmt.Errorf("journal mode %s, synchronous %d: want wal and 2 (full)", mode, level)
	}
	return fmt.Sprintf("%s (modernc.org/sqlite %s), `journal_mode=wal`, `synchronous=full`", engine,
		version("modernc.org/sqlite")), nil
}

// holdSQLite leaves a reader in the write-ahead log: no checkpoint can pass it,
// so that the log grows.
func holdSQLite(ctx context.Context, address string) (func() error, error) {
	return holdSession(ctx, func() (*sql.DB, error) { return openPool(address) },
		"begin deferred", "select count(*) from sqlite_master")
}
