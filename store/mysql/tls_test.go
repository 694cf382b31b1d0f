package mysql_test

import (
	"crypto/x509"
	"errors"
	"net/url"
	"strings"
	"testing"

	engine "github.com/go-sql-driver/mysql"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/mysql"
)

// remote is an address that is not known to be this machine's, although the
// system connects it to itself.
const remote = "0.0.0.0"

// at is the address of a database by a name of its host, with parameters.
func at(d *testserver.Database, host string, parameters ...string) string {
	_, port, _ := strings.Cut(d.Server.Addr(), ":")
	return "mysql://" + d.Server.Superuser() + "@" + host + ":" + port + "/" + d.Name + "?" + strings.Join(parameters, "&")
}

// cipher opens a store and returns how its connections are encrypted, or "".
func cipher(t *testing.T, dsn string) (name string) {
	t.Helper()
	s, err := mysql.Open(t.Context(), dsn, store.Options{})
	if err != nil {
		t.Errorf("open %s: %v", dsn, err)
		return ""
	}
	defer func() { _ = s.Close() }()
	row := s.DB().QueryRowContext(t.Context(), `show session status like 'ssl_cipher'`)
	if err := row.Scan(new(string), &name); err != nil {
		t.Error(err)
	}
	return name
}

func TestAServerProvesWhoItIs(t *testing.T) {
	t.Parallel()
	ca, other := testserver.NewAuthority(t), testserver.NewAuthority(t)
	proven := ca.MariaDB(t, testserver.Options{Volatile: true}, "localhost", remote)
	server := &testserver.Database{Server: testserver.MariaDB(t, proven), Name: "test"}
	trust, distrust := "tls-ca="+url.QueryEscape(ca.File), "tls-ca="+url.QueryEscape(other.File)
	for _, dsn := range []string{
		at(server, "localhost", trust), at(server, remote, trust), at(server, remote, "tls=skip-verify"),
	} {
		if cipher(t, dsn) == "" {
			t.Errorf("%s: connections are not encrypted", dsn)
		}
	}
	var unknown x509.UnknownAuthorityError
	for _, dsn := range []string{at(server, "localhost", distrust), at(server, remote, distrust), at(server, remote)} {
		_, err := mysql.Open(t.Context(), dsn, store.Options{})
		if !errors.As(err, &unknown) || !errors.Is(err, store.ErrUntrusted) || errors.Is(err, driver.ErrUnavailable) {
			t.Errorf("%s: %v, want an unknown authority", dsn, err)
		}
	}
	var name x509.HostnameError
	_, err := mysql.Open(t.Context(), at(server, "127.0.0.1", trust), store.Options{})
	if !errors.As(err, &name) || !errors.Is(err, store.ErrUntrusted) {
		t.Errorf("by a name that is not in its certificate: %v, want a wrong host name", err)
	}
}

func TestARemoteServerIsNotReachedInPlaintext(t *testing.T) {
	t.Parallel()
	server := servers.MariaDB(t) // it has no certificate
	for _, mode := range []string{"false", "preferred"} {
		_, err := mysql.Open(t.Context(), at(server, remote, "tls="+mode), store.Options{})
		if !errors.Is(err, store.ErrPlaintext) {
			t.Errorf("tls=%s: %v, want %v", mode, err, store.ErrPlaintext)
		}
	}
	for _, mode := range []string{"", "tls=true", "tls=skip-verify"} {
		if _, err := mysql.Open(t.Context(), at(server, remote, mode), store.Options{}); !errors.Is(err, engine.ErrNoTLS) {
			t.Errorf("%q: %v, want %v", mode, err, engine.ErrNoTLS)
		}
	}
	if cipher(t, at(server, remote, "tls=false", "allow_plaintext=1")) != "" {
		t.Error("a server without a certificate encrypts")
	}
}
