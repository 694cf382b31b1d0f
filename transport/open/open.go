// Package open turns the address of a store or a transport into an opened one.
// What is supported stands in one table; nothing registers itself.
package open

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/migrate"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/mysql"
	"github.com/posthorn/posthorn/store/postgres"
	"github.com/posthorn/posthorn/store/sqlite"
)

// The errors of this package. They are wrapped, and never repeat the address,
// which may hold a password.
var (
	// ErrScheme: no driver for this kind of address.
	ErrScheme = errors.New("unsupported scheme")
	// ErrMissing: the store does not exist, and was not to be made.
	ErrMissing = errors.New("the store does not exist")
)

// InStore is the address of a transport whose queues are in the store.
const InStore = "store"

// A dialect is one kind of store.
type dialect struct {
	scheme     string
	form       string // of its addresses, for messages
	open       func(ctx context.Context, dsn string, o store.Options) (*store.Store, error)
	migrations func(ctx context.Context, dsn string) ([]migrate.Migration, error)
	migrate    func(ctx context.Context, dsn string) (int, error)
	exists     func(ctx context.Context, dsn string) (bool, error)
	check      func(dsn string) error            // of an address; nil takes all
	grants     func(store.Grant) (string, error) // nil: its database has no users
}

// dialects is the table of stores.
func dialects() []dialect {
	return []dialect{{
		scheme: "sqlite", form: "sqlite:PATH",
		open: sqlite.Open, migrations: sqlite.Migrations, migrate: sqlite.Migrate, exists: fileExists,
	}, {
		scheme: "postgres", form: "postgres://USER@HOST:PORT/DATABASE",
		open: postgres.Open, migrations: postgres.Migrations, migrate: postgres.Migrate,
		exists: schemaExists(postgres.Migrations), check: postgres.CheckAddress, grants: store.Grant.PostgreSQL,
	}, {
		scheme: "postgresql", form: "",
		open: postgres.Open, migrations: postgres.Migrations, migrate: postgres.Migrate,
		exists: schemaExists(postgres.Migrations), check: postgres.CheckAddress, grants: store.Grant.PostgreSQL,
	}, {
		scheme: "mysql", form: "mysql://USER@HOST:PORT/DATABASE",
		open: mysql.Open, migrations: mysql.Migrations, migrate: mysql.Migrate, exists: schemaExists(mysql.Migrations),
		grants: store.Grant.MySQL,
	}, {
		scheme: "mariadb", form: "",
		open: mysql.Open, migrations: mysql.Migrations, migrate: mysql.Migrate, exists: schemaExists(mysql.Migrations),
		grants: store.Grant.MySQL,
	}}
}

// CheckStore reports whether a store's address can be opened at all, without
// touching it.
func CheckStore(dsn string) error {
	d, err := find(dsn)
	if err != nil || d.check == nil {
		return err
	}
	return d.check(dsn)
}

// CheckTransport is CheckStore for the address of a transport.
func CheckTransport(dsn string) error {
	if dsn == InStore {
		return nil
	}
	return fmt.Errorf("%w %q: supported is only %s, for a queue in the store", ErrScheme, scheme(dsn), InStore)
}

// Store opens the store at dsn, makes it if it does not exist, and brings its
// schema forward. The caller closes it. Errors: ErrScheme, and those of the
// dialect's Open.
func Store(ctx context.Context, dsn string, o store.Options) (*store.Store, error) {
	d, err := find(dsn)
	if err != nil {
		return nil, err
	}
	return d.open(ctx, dsn, o)
}

// Existing is Store that makes nothing: it fails with ErrMissing when there is
// no store at dsn.
func Existing(ctx context.Context, dsn string, o store.Options) (*store.Store, error) {
	d, err := find(dsn)
	if err != nil {
		return nil, err
	}
	there, err := d.exists(ctx, dsn)
	if err != nil {
		return nil, fmt.Errorf("look for store: %w", err)
	}
	if !there {
		if _, err := d.migrations(ctx, dsn); err != nil { // an address that cannot be read is not just missing
			return nil, err
		}
		return nil, ErrMissing
	}
	return d.open(ctx, dsn, o)
}

// Transport opens the transport at dsn, beside an opened store. The address
// "store" gives the store itself, which stays its owner's to close.
func Transport(_ context.Context, dsn string, s *store.Store) (driver.Transport, error) {
	if err := CheckTransport(dsn); err != nil {
		return nil, err
	}
	return s, nil
}

// Migrations lists the schema's steps and when each was applied at dsn.
func Migrations(ctx context.Context, dsn string) ([]migrate.Migration, error) {
	d, err := find(dsn)
	if err != nil {
		return nil, err
	}
	return d.migrations(ctx, dsn)
}

// Migrate brings the schema at dsn forward, and returns how many steps it took.
func Migrate(ctx context.Context, dsn string) (int, error) {
	d, err := find(dsn)
	if err != nil {
		return 0, err
	}
	return d.migrate(ctx, dsn)
}

func find(dsn string) (dialect, error) {
	var forms []string
	for _, d := range dialects() {
		if strings.HasPrefix(dsn, d.scheme+":") {
			return d, nil
		}
		if d.form != "" { // the second name of one that was listed
			forms = append(forms, d.form)
		}
	}
	return dialect{}, fmt.Errorf("%w %q: supported is %s", ErrScheme, scheme(dsn), strings.Join(forms, ", "))
}

// scheme is what stands before the colon, if that is a word; an address
// without one may hold a secret anywhere.
func scheme(dsn string) string {
	word, _, ok := strings.Cut(dsn, ":")
	if !ok && strings.ContainsAny(word, "@=/ ") {
		return ""
	}
	return word
}

// lister lists the migrations of a store.
type lister = func(ctx context.Context, dsn string) ([]migrate.Migration, error)

// schemaExists is for servers: a store exists when its schema does.
func schemaExists(list lister) func(context.Context, string) (bool, error) {
	return func(ctx context.Context, dsn string) (bool, error) {
		ms, err := list(ctx, dsn)
		return err == nil && len(ms) > 0 && !ms[0].AppliedAt.IsZero(), err
	}
}

// fileExists is for addresses that are a scheme and a file's path.
func fileExists(_ context.Context, dsn string) (bool, error) {
	_, path, _ := strings.Cut(dsn, ":")
	path, _, _ = strings.Cut(strings.TrimPrefix(path, "//"), "?")
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	// An empty file is what a crash between making and migrating leaves.
	return err == nil && (info.IsDir() || info.Size() > 0), err
}
