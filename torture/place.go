package torture

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/posthorn/posthorn/internal/proxy"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/mysql"
)

// ErrStore: no run is possible on the store that was given.
var ErrStore = errors.New("cannot torture this store")

// A place is where a run takes place: scratch tables of its own, which are removed
// afterwards, in a file, a schema or a database of their own.
type place struct {
	kind    string // sqlite, postgres or mysql
	name    string // of the scratch
	direct  string // the address of its store
	dsn     string // the same, by the proxy if there is one
	session map[string]string
	server  server       // nil unless it is private
	proxy   *proxy.Proxy // nil if there is none
	noProxy string       // why
	leave   []func(ctx context.Context) error
}

// A server is a private one, which a run may harm.
type server interface {
	Addr() string
	Kill() error
	Start() error
	Pause() error
	Resume() error
	Exec(statements ...string) error
	Open(user, database string) (*sql.DB, error)
	Superuser() string
	Close() error
}

// findPlace makes the scratch of a run.
func findPlace(ctx context.Context, o Options) (p *place, err error) {
	p = &place{name: "torture_" + strings.ToLower(rand.Text()[:10])}
	switch {
	case o.Private != "":
		err = p.usePrivate(o.Private)
	case strings.HasPrefix(o.Store, "sqlite:"):
		err = p.useFile(o.Store)
	case strings.HasPrefix(o.Store, "postgres:"), strings.HasPrefix(o.Store, "postgresql:"):
		err = p.useSchema(o.Store)
	case strings.HasPrefix(o.Store, "mysql:"), strings.HasPrefix(o.Store, "mariadb:"):
		err = p.useDatabase(ctx, o.Store)
	default:
		err = fmt.Errorf("%w: it is neither SQLite, PostgreSQL nor MySQL or MariaDB", ErrStore)
	}
	if err == nil && p.noProxy == "" {
		err = p.setProxy()
	}
	if err != nil {
		return nil, errors.Join(err, p.close(ctx))
	}
	return p, nil
}

// close removes the scratch, in the reverse order of its making.
func (p *place) close(ctx context.Context) (err error) {
	for i := len(p.leave) - 1; i >= 0; i-- {
		err = errors.Join(err, p.leave[i](ctx))
	}
	p.leave = nil
	return err
}

// useFile makes a file beside the store's.
func (p *place) useFile(dsn string) error {
	path, query, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(dsn, "sqlite:"), "//"), "?")
	dir, err := os.MkdirTemp(filepath.Dir(path), "posthorn-"+p.name+"-")
	if err != nil {
		return fmt.Errorf("make scratch file: %w", err)
	}
	p.leave = append(p.leave, func(context.Context) error { return os.RemoveAll(dir) })
	p.kind, p.noProxy = "sqlite", "SQLite has no network"
	p.direct = "sqlite:" + filepath.Join(dir, "store.db")
	if query != "" {
		p.direct += "?" + query
	}
	p.dsn = p.direct
	return nil
}

// useSchema makes a schema in the store's database. The store makes it when it is
// opened, and the run drops it by its own connections.
func (p *place) useSchema(dsn string) error {
	u, err := url.Parse(dsn)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStore, store.ErrDSN) // err has the address
	}
	q := u.Query()
	q.Set("schema", p.name)
	q.Del("prefix")
	q.Del("listen")
	if isLocal(u.Host) && !q.Has("sslmode") {
		q.Set("sslmode", "disable")
	}
	if !isLocal(u.Host) || q.Get("sslmode") != "disable" {
		p.noProxy = "the way to the server is not plain TCP on this host"
	}
	u.RawQuery = q.Encode()
	p.kind, p.direct = "postgres", u.String()
	q.Set("application_name", p.name)
	u.RawQuery = q.Encode()
	p.dsn, p.session = u.String(), map[string]string{"search_path": p.name}
	return nil
}

// useDatabase makes a database on the store's server.
func (p *place) useDatabase(ctx context.Context, dsn string) error {
	u, err := url.Parse(dsn)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStore, store.ErrDSN) // err has the address
	}
	db, err := mysql.Connect(dsn)
	if err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, "create database "+p.name); err != nil {
		return errors.Join(fmt.Errorf("%w: make scratch database: %w", ErrStore, err), db.Close())
	}
	p.leave = append(p.leave, func(ctx context.Context) error {
		_, err := db.ExecContext(ctx, "drop database "+p.name)
		return errors.Join(err, db.Close())
	})
	q := u.Query()
	q.Del("prefix")
	if !isLocal(u.Host) || q.Has("tls") || q.Has("tls-ca") {
		p.noProxy = "the way to the server is not plain TCP on this host"
	}
	u.Path, u.RawQuery = "/"+p.name, q.Encode()
	p.kind, p.direct, p.dsn = "mysql", u.String(), u.String()
	return nil
}

// isLocal reports whether a host and port, one only, are this machine's.
func isLocal(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = hostPort
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// setProxy sets a proxy before the server, on the way of the run's processes.
func (p *place) setProxy() error {
	u, err := url.Parse(p.dsn)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStore, store.ErrDSN)
	}
	protocol, port := proxy.PostgreSQL, "5432"
	if p.kind == "mysql" {
		protocol, port = proxy.MySQL, "3306"
	}
	target := u.Host
	if u.Port() == "" {
		target = net.JoinHostPort(u.Hostname(), port)
	}
	p.proxy, err = proxy.Listen(protocol, target, func(error) {}) // its faults show as faults of the network
	if err != nil {
		return err
	}
	p.leave = append(p.leave, func(context.Context) error { p.proxy.Close(); return nil })
	u.Host = p.proxy.Addr()
	p.dsn = u.String()
	return nil
}

// The makes of private servers.
const (
	PrivatePostgreSQL = "postgres"
	PrivateMariaDB    = "mariadb"
)

// usePrivate starts a server. The run's user is not its superuser, so that it has
// no connection in reserve.
func (p *place) usePrivate(make string) error {
	s, err := launch(make)
	if err != nil {
		return err
	}
	p.server = s
	p.leave = append(p.leave, func(context.Context) error { return s.Close() })
	q, grant := url.Values{}, []string(nil)
	if p.kind = "postgres"; make == PrivateMariaDB {
		p.kind = "mysql"
		grant = []string{
			"create database " + p.name, "create user posthorn@'127.0.0.1'", "create user hog@'127.0.0.1'",
			"grant all on " + p.name + ".* to posthorn@'127.0.0.1'", "grant select on " + p.name + ".* to hog@'127.0.0.1'",
		}
	} else {
		q.Set("sslmode", "disable")
		grant = []string{
			"create role posthorn login", "create role hog login", "create database " + p.name + " owner posthorn",
		}
	}
	if err := s.Exec(grant...); err != nil {
		return err
	}
	u := url.URL{Scheme: p.kind, User: url.User("posthorn"), Host: s.Addr(), Path: "/" + p.name, RawQuery: q.Encode()}
	p.direct = u.String()
	if p.kind == "postgres" {
		q.Set("application_name", p.name)
		u.RawQuery = q.Encode()
	}
	p.dsn = u.String()
	return nil
}
