package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// minVersion is the oldest server that is supported.
const minVersion = 130000

// prepare checks the server, brings the schema forward unless asIs, and reads
// how durable commits are.
func prepare(ctx context.Context, db *sql.DB, names store.Names, asIs bool) (driver.Durability, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	var (
		version       int
		fsync, commit string
	)
	err = conn.QueryRowContext(ctx, `select current_setting('server_version_num')::int, current_setting('fsync'),
		current_setting('synchronous_commit')`).Scan(&version, &fsync, &commit)
	if err != nil {
		return "", err
	}
	if version < minVersion {
		return "", fmt.Errorf("%w: PostgreSQL %d, at least 13 is needed", store.ErrEngine, version/10000)
	}
	if !asIs {
		_, err = schema(names).Forward(ctx, conn)
	}
	return durabilityOf(fsync, commit), err
}

// durabilityOf is what the settings promise. Without synchronous_commit the
// server's own death loses what it acknowledged last.
func durabilityOf(fsync, commit string) driver.Durability {
	switch {
	case commit == "off":
		return driver.Volatile
	case fsync == "off":
		return driver.ProcessSafe
	}
	return driver.PowerSafe
}

// explainOpen gives errors of opening their meaning. A server refuses the
// settings of the first message while it lets the connection in.
func explainOpen(err error) error {
	var (
		pg      *pgconn.PgError
		connect *pgconn.ConnectError
	)
	if errors.As(err, &connect) && errors.As(err, &pg) {
		switch pg.Code {
		case "42704", "22023", "55P02": // undefined, invalid value, cannot be changed now
			return fmt.Errorf("%w: %w", store.ErrSession, err)
		}
	}
	switch {
	case err == nil:
		return nil
	case untrusted(err):
		return fmt.Errorf("%w: %w", store.ErrUntrusted, err)
	case classify(err) == driver.ClassTransient, pgconn.Timeout(err):
		return fmt.Errorf("%w: %w", driver.ErrUnavailable, err)
	}
	return err
}

// untrusted reports whether no server that was tried has proven who it is. Where
// one of several hosts was only out of reach, waiting may help.
func untrusted(err error) bool {
	var (
		connect *pgconn.ConnectError
		tries   interface{ Unwrap() []error }
	)
	if !errors.As(err, &connect) {
		return false
	}
	if len(hostsOf(connect.Config)) == 1 || !errors.As(connect, &tries) {
		return store.Untrusted(connect)
	}
	return !slices.ContainsFunc(tries.Unwrap(), func(err error) bool { return !store.Untrusted(err) })
}
