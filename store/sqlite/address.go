package sqlite

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"

	engine "modernc.org/sqlite"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/guard"
)

// An address is a parsed DSN.
type address struct {
	path        string
	synchronous string
}

// url is the driver's address, with the session settings that all connections
// have.
func (a address) url(pragma string) (string, error) {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(15000)", "journal_mode(wal)", "synchronous(" + a.synchronous + ")", "foreign_keys(on)",
		"mmap_size(0)", "journal_size_limit(67108864)", "wal_autocheckpoint(4000)",
	}}
	if pragma != "" {
		q.Add("_pragma", pragma)
	}
	abs, err := filepath.Abs(a.path)
	if err != nil {
		return "", err
	}
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: abs}).EscapedPath(), RawQuery: q.Encode()}
	return u.String(), nil
}

// guarded opens the pool of the connection that writes, under its guard. It has
// no bound: one that was destroyed may be returned late. See session.destroy.
func (a address) guarded() (*sql.DB, error) {
	dsn, err := a.url("")
	if err != nil {
		return nil, err
	}
	base, err := engine.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(guard.Connector{Connector: base, Install: install})
	db.SetMaxIdleConns(1)
	return db, nil
}

// pool opens a pool of connections.
func (a address) pool(size int, pragma string) (*sql.DB, error) {
	dsn, err := a.url(pragma)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

// durability is what the settings promise.
func (a address) durability() driver.Durability {
	if a.synchronous == "full" {
		return driver.PowerSafe
	}
	return driver.ProcessSafe
}

func (a address) exists() bool {
	_, err := os.Stat(a.path)
	return err == nil
}

// prepare makes the file, for its owner alone, and checks where it is.
func (a address) prepare() error {
	dir := filepath.Dir(a.path)
	if err := checkFS(dir); err != nil {
		return err
	}
	f, err := os.OpenFile(a.path, os.O_RDWR|os.O_CREATE, 0o600)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: there is no directory %s", store.ErrReadOnly, dir)
	case err != nil:
		return fmt.Errorf("%w: %w", store.ErrReadOnly, err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%w: it is a directory", store.ErrReadOnly)
	}
	return errors.Join(err, f.Close())
}

func logger(o store.Options) *slog.Logger {
	if o.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Log
}
