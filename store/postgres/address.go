package postgres

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/pool"
)

// connectTimeout is how long one host may take to let a connection in.
const connectTimeout = 5 * time.Second

// consent is the parameter that allows plaintext to a remote host.
const consent = "allow_plaintext"

// An address is how the servers of a store are reached. Each new connection
// asks for the addresses of the hosts' names again, tries them in their order,
// and takes the first server that fits: pgconn.ConnectConfig does all three, so
// that a failover is followed without a restart.
type address struct {
	config *pgx.ConnConfig
	hosts  int
	names  store.Names
	listen *pgx.ConnConfig // of the server itself, for the ears; nil: they connect like the others
	pooled bool            // a pooler lends the server's sessions; see settlePooler
}

// parse reads an address and adds the settings of the session. It never repeats
// the address in an error: it holds a password.
func parse(dsn string, o store.ServerOptions) (address, error) {
	query, err := queryOf(dsn)
	if err != nil {
		return address{}, err
	}
	before, _, _ := splitQuery(dsn)
	names, err := store.TakeNames(query)
	if err != nil {
		return address{}, err
	}
	itself, err := takeListen(query)
	if err != nil {
		return address{}, err
	}
	config, err := configure(before, query, o)
	if err != nil {
		return address{}, err
	}
	a := address{config: config, hosts: len(hostsOf(&config.Config)), names: names}
	if a.hosts > 1 && !query.Has("target_session_attrs") {
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if itself != "" {
		a.listen, err = configureListen(before, query, itself, o)
	}
	return a, err
}

// configure makes the configuration of connections to the hosts of an address.
func configure(before string, query url.Values, o store.ServerOptions) (*pgx.ConnConfig, error) {
	config, err := parseSafely(before+"?"+query.Encode(), query)
	if err != nil {
		return nil, err
	}
	delete(config.RuntimeParams, consent)
	if err := applySession(config, o.Session); err != nil {
		return nil, err
	}
	switch {
	case o.ConnectTimeout > 0:
		config.ConnectTimeout = o.ConnectTimeout
	case config.ConnectTimeout <= 0:
		config.ConnectTimeout = connectTimeout
	}
	config.DialFunc = pool.Dial
	return config, nil
}

// CheckAddress refuses an address that Open would refuse, without connecting.
// Errors: store.ErrDSN, ErrPlaintext.
func CheckAddress(dsn string) error {
	_, err := parse(dsn, store.ServerOptions{})
	return err
}

// queryOf is the part of an address after the question mark.
func queryOf(dsn string) (url.Values, error) {
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		return nil, fmt.Errorf("%w: want postgres://USER@HOST:PORT/DATABASE", store.ErrDSN)
	}
	_, query, _ := splitQuery(dsn)
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, fmt.Errorf("%w: its parameters do not parse", store.ErrDSN)
	}
	return values, nil
}

// splitQuery cuts an address at the question mark. As for pgx, user and password
// end at an @ that stands before any slash.
func splitQuery(dsn string) (before, query string, found bool) {
	start := strings.Index(dsn, "://") + len("://")
	if i := strings.IndexAny(dsn[start:], "@/"); i >= 0 && dsn[start+i] == '@' {
		start += i
	}
	i := strings.IndexByte(dsn[start:], '?')
	if i < 0 {
		return dsn, "", false
	}
	return dsn[:start+i], dsn[start+i+1:], true
}

// parseSafely parses an address whose connections to remote hosts are encrypted
// and whose servers prove who they are, unless it says otherwise.
func parseSafely(dsn string, query url.Values) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("%w: it does not parse as a postgres:// URL", store.ErrDSN)
	}
	if !slices.ContainsFunc(hostsOf(&config.Config), isRemote) {
		return config, nil
	}
	if !query.Has("sslmode") && !query.Has("ssl") {
		before, rest, _ := splitQuery(dsn)
		config, err = pgx.ParseConfig(strings.TrimSuffix(before+"?sslmode=verify-full&"+rest, "&"))
		if err != nil {
			return nil, fmt.Errorf("%w: TLS cannot be set up; check sslrootcert and its like", store.ErrDSN)
		}
	}
	if !mayBePlain(config) || query.Get("sslmode") == "disable" && query.Get(consent) == "1" {
		return config, nil
	}
	return nil, fmt.Errorf("%w: leave sslmode out to have the server's certificate verified, "+
		"or write sslmode=disable&%s=1 for a network that nobody else can read", store.ErrPlaintext, consent)
}

// hostsOf lists the hosts with their ports, each once.
func hostsOf(config *pgconn.Config) []string {
	hosts := []string{net.JoinHostPort(config.Host, fmt.Sprint(config.Port))}
	for _, f := range config.Fallbacks {
		host := net.JoinHostPort(f.Host, fmt.Sprint(f.Port))
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// isRemote reports whether a host may be another machine: it is neither the
// path of a socket nor a name or an address of this one.
func isRemote(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return true
	}
	if strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || strings.EqualFold(host, "localhost") {
		return false
	}
	ip := net.ParseIP(host)
	return ip == nil || !ip.IsLoopback()
}

// mayBePlain reports whether one of the ways to a remote host is not encrypted.
func mayBePlain(config *pgx.ConnConfig) bool {
	if config.TLSConfig == nil && isRemote(net.JoinHostPort(config.Host, "0")) {
		return true
	}
	return slices.ContainsFunc(config.Fallbacks, func(f *pgconn.FallbackConfig) bool {
		return f.TLSConfig == nil && isRemote(net.JoinHostPort(f.Host, "0"))
	})
}

// notSettings are parameters of the first message to the server that are no
// settings, or that the session guard would take for a handler's work.
func notSettings() []string {
	return []string{"user", "database", "options", "replication", "role", "session_authorization"}
}

// applySession puts settings where the server applies them before the first
// statement: into the first message, where nothing needs quoting. They are the
// session's defaults then, to which RESET and DISCARD return.
func applySession(config *pgx.ConnConfig, settings map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if err := store.CheckSetting(name, settings[name]); err != nil {
			return err
		}
		if slices.Contains(notSettings(), strings.ToLower(name)) {
			return fmt.Errorf("%w: %s belongs to the address, or cannot be set", store.ErrSession, name)
		}
		config.RuntimeParams[name] = settings[name]
	}
	return nil
}
