package sqlite

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"time"

	engine "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/mutant"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/guard"
)

// An address is a parsed DSN.
type address struct {
	path        string
	synchronous string
	names       store.Names
}

// url is the driver's address, with the session settings that all connections
// have.
func (a address) url(pragma string) (string, error) {
	if mutant.WeakDurability {
		a.synchronous = "off"
	}
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
	base, err := a.connector("")
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(guard.Connector{Connector: base, Install: installer(a.names), Cutter: cutter})
	db.SetMaxIdleConns(1)
	return db, nil
}

// pool opens a pool of connections.
func (a address) pool(size int, pragma string) (*sql.DB, error) {
	base, err := a.connector(pragma)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(base)
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

// connector opens connections.
func (a address) connector(pragma string) (sqldriver.Connector, error) {
	dsn, err := a.url(pragma)
	if err != nil {
		return nil, err
	}
	base, err := engine.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	return patient{base}, nil
}

// A patient connector waits while another process switches the file to its
// write-ahead log, recovers it, or removes it as the last one to leave: SQLite
// does not call its busy handler then (https://www.sqlite.org/wal.html#busy).
type patient struct{ sqldriver.Connector }

// Bounds of a connector's patience.
const (
	patience = 15 * time.Second // as long as for any other lock
	maxPause = 50 * time.Millisecond
)

// Connect opens a connection.
func (p patient) Connect(ctx context.Context) (sqldriver.Conn, error) {
	for began, pause := time.Now(), time.Millisecond; ; pause = min(2*pause, maxPause) {
		conn, err := p.Connector.Connect(ctx)
		if err == nil || !hasCode(err, lib.SQLITE_BUSY) || time.Since(began) > patience {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
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
