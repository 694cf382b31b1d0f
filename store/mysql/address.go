package mysql

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/pool"
)

// connectTimeout is how long one host may take to let a connection in.
const connectTimeout = 5 * time.Second

// tlsCA is the parameter that names a file with the authorities whose
// certificates servers may have.
const tlsCA = "tls-ca"

// consent is the parameter that allows plaintext to a remote host.
const consent = "allow_plaintext"

// An address is how the servers of a store are reached.
type address struct {
	config *mysql.Config // without a host
	hosts  []string      // each with its port
	names  store.Names
}

// parse reads an address and adds the settings of the session. It never repeats
// the address in an error: it holds a password.
func parse(dsn string, o store.ServerOptions) (address, error) {
	u, err := url.Parse(dsn)
	if err != nil || u.Scheme != "mysql" && u.Scheme != "mariadb" || u.Host == "" {
		return address{}, fmt.Errorf("%w: want mysql://USER:PASSWORD@HOST:PORT/DATABASE", store.ErrDSN)
	}
	c := mysql.NewConfig()
	c.Net, c.User, c.Params = "tcp", u.User.Username(), map[string]string{}
	c.Passwd, _ = u.User.Password()
	if c.DBName = strings.TrimPrefix(u.Path, "/"); c.DBName == "" || strings.Contains(c.DBName, "/") {
		return address{}, fmt.Errorf("%w: it names no database", store.ErrDSN)
	}
	c.ClientFoundRows, c.InterpolateParams = true, true
	c.Logger = &mysql.NopLogger{} // what it would say is in the errors
	c.DialFunc = pool.Dial
	a := address{config: c}
	for host := range strings.SplitSeq(u.Host, ",") {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), "3306")
		}
		a.hosts = append(a.hosts, host)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return address{}, fmt.Errorf("%w: its parameters do not parse", store.ErrDSN)
	}
	if a.names, err = store.TakeNames(q); err != nil {
		return address{}, err
	}
	if a.names.Schema != "" {
		return address{}, fmt.Errorf("%w: a schema is a database here, and stands after the host; "+
			"prefix= tells several stores in it apart", store.ErrDSN)
	}
	return a, errors.Join(c.Apply(mysql.Charset("utf8mb4", "")), a.applyQuery(q, o), a.applySession(o.Session))
}

// applyQuery reads the part of the address after the question mark.
func (a address) applyQuery(q url.Values, o store.ServerOptions) (err error) {
	for name := range q {
		if name != "timeout" && name != "tls" && name != tlsCA && name != consent {
			return fmt.Errorf("%w: its parameters can be timeout, tls, %s, prefix and %s", store.ErrDSN, tlsCA, consent)
		}
	}
	a.config.Timeout = cmp.Or(o.ConnectTimeout, connectTimeout)
	if t := q.Get("timeout"); t != "" && o.ConnectTimeout == 0 {
		if a.config.Timeout, err = time.ParseDuration(t); err != nil || a.config.Timeout <= 0 {
			return fmt.Errorf("%w: timeout wants a duration, 5s for one", store.ErrDSN)
		}
	}
	if q.Has(tlsCA) {
		return a.applyCA(q)
	}
	remote := slices.ContainsFunc(a.hosts, isRemote)
	a.config.TLSConfig = q.Get("tls")
	switch a.config.TLSConfig {
	case "true", "skip-verify":
	case "":
		a.config.TLSConfig = fmt.Sprint(remote)
	case "false", "preferred":
		if remote && q.Get(consent) != "1" {
			return fmt.Errorf("%w: leave tls out to have the server's certificate verified, "+
				"or write tls=false&%s=1 for a network that nobody else can read", store.ErrPlaintext, consent)
		}
	default:
		return fmt.Errorf("%w: tls wants true, false, skip-verify or preferred", store.ErrDSN)
	}
	return nil
}

// applyCA lets the servers' certificates be verified by authorities of one's
// own.
func (a address) applyCA(q url.Values) error {
	if t := q.Get("tls"); t != "" && t != "true" {
		return fmt.Errorf("%w: %s verifies certificates, tls=%s would not", store.ErrDSN, tlsCA, t)
	}
	text, err := os.ReadFile(q.Get(tlsCA))
	if err != nil {
		return fmt.Errorf("%w: read %s: %w", store.ErrDSN, tlsCA, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return fmt.Errorf("%w: %s names no file with certificates in PEM form", store.ErrDSN, tlsCA)
	}
	a.config.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return nil
}

// isRemote reports whether a host may be another machine.
func isRemote(hostPort string) bool {
	host, _, _ := net.SplitHostPort(hostPort)
	return !strings.EqualFold(host, "localhost") && !net.ParseIP(host).IsLoopback()
}

// numeric is what a value of a setting looks like that must not be quoted.
var numeric = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)

// applySession puts settings into the statement that begins each connection.
func (a address) applySession(settings map[string]string) error {
	escape := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	for name, value := range settings {
		if err := store.CheckSetting(name, value); err != nil {
			return err
		}
		switch strings.ToLower(name) {
		case "autocommit", "tx_isolation", "transaction_isolation", "tx_read_only", "transaction_read_only",
			"completion_type":
			return fmt.Errorf("%w: %s is set by Posthorn itself", store.ErrSession, name)
		}
		if !numeric.MatchString(value) {
			value = "'" + escape.Replace(value) + "'"
		}
		a.config.Params[name] = value
	}
	return nil
}

// with is the address with another setting of the session.
func (a address) with(name, value string) address {
	a.config = a.config.Clone()
	a.config.Params[name] = value
	return a
}

// patience is how long Posthorn's own statements wait for a lock, in seconds: for less than for an
// answer of the server, so that it is known what became of them.
const patience = "10"

// least sets a time limit for locks, unless the address does.
func (a address) least(name string) address {
	if a.config.Params[name] != "" {
		return a
	}
	return a.with(name, patience)
}

// several is the address for connections on which a packet may have several statements.
func (a address) several() address {
	a.config = a.config.Clone()
	a.config.MultiStatements = true
	return a
}

// connector opens connections.
func (a address) connector() (sqldriver.Connector, error) {
	var out connector
	for _, host := range a.hosts {
		config := a.config.Clone()
		config.Addr = host
		c, err := mysql.NewConnector(config)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// A connector tries the hosts in their order, each time anew, and takes the
// first server that can be written to, so that a failover is followed without a
// restart.
type connector []sqldriver.Connector

// errReadOnly: the server is a replica, or was demoted.
var errReadOnly = errors.New("server is read-only")

// Connect opens a connection. One host is taken as it is.
func (c connector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	var all []error
	for _, host := range c {
		conn, err := host.Connect(ctx)
		if err == nil && len(c) > 1 {
			conn, err = writable(ctx, conn)
		}
		if err == nil {
			return conn, nil
		}
		all = append(all, err)
	}
	return nil, errors.Join(all...)
}

// Driver is the driver's own.
func (c connector) Driver() sqldriver.Driver { return c[0].Driver() }

// writable closes a connection to a server that cannot be written to.
func writable(ctx context.Context, conn sqldriver.Conn) (sqldriver.Conn, error) {
	raw, ok := conn.(rawConn)
	if !ok {
		return nil, errors.Join(errNoInterface, conn.Close())
	}
	row, err := pairs(ctx, raw, `select 'read_only', @@global.read_only`)
	if err == nil && row["read_only"] != "0" && row["read_only"] != "OFF" {
		err = errReadOnly
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
