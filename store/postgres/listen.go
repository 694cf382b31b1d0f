package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/pool"
)

// listenParam is the parameter that names the server itself, for the ears.
const listenParam = "listen"

// hostForm is what a host's name or IPv4 address looks like.
var hostForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// takeListen reads where the ears connect to out of an address's parameters, and
// removes it there. It is empty where the address says nothing of them.
func takeListen(query url.Values) (hostPort string, err error) {
	values, there := query[listenParam]
	query.Del(listenParam)
	if !there {
		return "", nil
	}
	host, port, err := net.SplitHostPort(values[0])
	number, bad := strconv.ParseUint(port, 10, 16)
	_, noIP := netip.ParseAddr(host)
	if len(values) > 1 || err != nil || bad != nil || number == 0 || noIP != nil && !hostForm.MatchString(host) {
		return "", fmt.Errorf("%w: %s wants one HOST:PORT, that of the server itself", store.ErrDSN, listenParam)
	}
	return values[0], nil
}

// configureListen makes the configuration of the ears: that of the address with
// another host, so that certificates are checked for its name, and plaintext
// needs the same consent. Only a primary can be listened to.
func configureListen(before string, query url.Values, hostPort string, o store.ServerOptions) (*pgx.ConnConfig, error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	query = maps.Clone(query)
	query.Set("host", host)
	query.Set("port", port)
	query.Del("target_session_attrs")
	config, err := configure(before, query, o)
	if err != nil {
		return nil, fmt.Errorf("%s=%s: %w", listenParam, hostPort, err)
	}
	config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
	return config, nil
}

// A line is how the ears connect.
type line struct {
	config *pgx.ConnConfig
	// main leads to the database of the store where the line is another way to
	// it; else it is nil.
	main *sql.DB
}

// line is the way of the ears.
func (a address) line(main *sql.DB) line {
	if a.listen == nil {
		return line{config: a.config}
	}
	return line{a.listen, main}
}

// ears are nil behind a pooler, unless a line leads past it: to listen would
// stick to a session that is lent to others next.
func (a address) ears(l line) pool.Ears {
	if a.pooled && l.main == nil {
		return nil
	}
	return newEars(l, a.names.Channel())
}

// String is the line as it is written in an address.
func (l line) String() string {
	return listenParam + "=" + net.JoinHostPort(l.config.Host, strconv.Itoa(int(l.config.Port)))
}

// Why the ears cannot use a line.
var (
	errListenPooled = fmt.Errorf("%w: it leads to a pooler; name the server itself", store.ErrDSN)
	errListenAstray = fmt.Errorf("%w: it leads to another database than the rest of the address", store.ErrDSN)
)

// settle tries a line when a store is opened. What leads astray is refused; what
// cannot be reached just now is no reason not to work: the ears keep trying, and
// consumers poll.
func (l line) settle(ctx context.Context, log *slog.Logger) error {
	if l.main == nil {
		return nil
	}
	err := explainOpen(l.try(ctx))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, driver.ErrUnavailable) && ctx.Err() == nil:
		if log != nil {
			log.Warn("cannot listen for messages: they are found by polling until then", "try", l.String(), "error", err)
		}
		return nil
	}
	return fmt.Errorf("%s: %w", l, err)
}

// try connects once.
func (l line) try(ctx context.Context) error {
	c, err := l.connect(ctx)
	if err != nil {
		return err
	}
	return c.Close(ctx)
}

// connect opens a connection, bounded by its ConnectTimeout for each host. One that
// goes another way than the rest is checked each time, since what the name of a
// host means may change.
func (l line) connect(ctx context.Context) (*pgx.Conn, error) {
	c, err := pgx.ConnectConfig(ctx, l.config)
	var pg *pgconn.PgError
	switch {
	case l.main == nil:
		return c, err
	case errors.As(err, &pg) && pg.Code == protocolViolation:
		return nil, errListenPooled
	case err != nil:
		return nil, err
	}
	if err := l.check(ctx, c); err != nil {
		_ = c.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	return c, nil
}

// check takes a lock, of a number that nobody else has, and looks whether it is
// taken by the other way, too. Locks belong to a database of a running server:
// a copy may have the same names and numbers in it, but not the same locks.
func (l line) check(ctx context.Context, c *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, l.config.ConnectTimeout)
	defer cancel()
	pooled, err := lent(ctx, c)
	switch {
	case err != nil:
		return err
	case pooled:
		return errListenPooled
	}
	key := rand.Int64()
	if _, err := c.Exec(ctx, "select pg_advisory_lock($1)", key); err != nil {
		return err
	}
	var free bool
	if err := l.main.QueryRowContext(ctx, "select pg_try_advisory_xact_lock($1)", key).Scan(&free); err != nil {
		return err
	}
	if free {
		return errListenAstray
	}
	_, err = c.Exec(ctx, "select pg_advisory_unlock($1)", key)
	return err
}
