package postgres_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/postgres"
)

// remote is an address that is not known to be this machine's, although the
// system connects it to itself.
const remote = "0.0.0.0"

// at is the address of a database by a name of its host, with parameters.
func at(d *testserver.Database, host string, parameters ...string) string {
	_, port, _ := strings.Cut(d.Server.Addr(), ":")
	before := "postgres://" + d.Server.Superuser() + "@" + host + ":" + port + "/" + d.Name
	return before + "?" + strings.Join(parameters, "&")
}

// encrypted opens a store and reports whether its connections are.
func encrypted(t *testing.T, dsn string) bool {
	t.Helper()
	s, err := postgres.Open(t.Context(), dsn, store.Options{})
	if err != nil {
		t.Errorf("open %s: %v", dsn, err)
		return false
	}
	defer s.Close()
	return text(t, s.DB(), "select ssl::text from pg_stat_ssl where pid = pg_backend_pid()") == "true"
}

// refused opens a store, which must not work, and returns the error.
func refused(t *testing.T, dsn string) error {
	t.Helper()
	s, err := postgres.Open(t.Context(), dsn, store.Options{})
	if err == nil {
		t.Errorf("%s was opened", dsn)
		_ = s.Close()
	}
	return err
}

func TestAServerProvesWhoItIs(t *testing.T) {
	t.Parallel()
	ca, other := testserver.NewAuthority(t), testserver.NewAuthority(t)
	proven := ca.PostgreSQL(t, testserver.Options{Volatile: true}, "localhost", remote)
	server := &testserver.Database{Server: testserver.PostgreSQL(t, proven), Name: "postgres"}
	trust, full := "sslrootcert="+url.QueryEscape(ca.File), "sslmode=verify-full"
	for _, dsn := range []string{
		at(server, "localhost", full, trust), at(server, remote, full, trust), at(server, remote, trust),
	} {
		if !encrypted(t, dsn) {
			t.Errorf("%s: connections are not encrypted", dsn)
		}
	}
	for _, dsn := range []string{
		at(server, "localhost", full, "sslrootcert="+url.QueryEscape(other.File)),
		at(server, remote, "sslrootcert="+url.QueryEscape(other.File)), at(server, remote),
	} {
		var unknown x509.UnknownAuthorityError
		if err := refused(t, dsn); !errors.As(err, &unknown) || !mistaken(err) {
			t.Errorf("%s: %v, want an unknown authority", dsn, err)
		}
	}
	var name x509.HostnameError
	if err := refused(t, at(server, "127.0.0.1", full, trust)); !errors.As(err, &name) || !mistaken(err) {
		t.Errorf("by a name that is not in its certificate: %v, want a wrong host name", err)
	}
	distrust := "sslrootcert=" + url.QueryEscape(other.File)
	if err := refused(t, at(server, remote, "sslmode=verify-ca", distrust)); !mistaken(err) {
		t.Errorf("by its chain alone: %v, want %v", err, store.ErrUntrusted)
	}
	_, port, _ := strings.Cut(server.Server.Addr(), ":")
	both := func(first string) string {
		return fmt.Sprintf("postgres://%s@%s,%s:%s/postgres?%s&%s",
			server.Server.Superuser(), first, remote, port, full, distrust)
	}
	if err := refused(t, both("localhost:"+port)); !mistaken(err) {
		t.Errorf("two hosts, and none is trusted: %v, want %v", err, store.ErrUntrusted)
	}
	if err := refused(t, both("127.0.0.1:1")); !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("two hosts, of which one may come back: %v, want %v", err, driver.ErrUnavailable)
	}
	if _, err := postgres.Migrate(t.Context(), at(server, remote, distrust)); !mistaken(err) {
		t.Errorf("migrate: %v, want %v", err, store.ErrUntrusted)
	}
}

// mistaken reports whether an error is of the configuration: no waiting heals it.
func mistaken(err error) bool {
	return errors.Is(err, store.ErrUntrusted) && !errors.Is(err, driver.ErrUnavailable)
}

func TestAServerThatDoesNotAnswerIsUnavailable(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"127.0.0.1:1", mute(t)} {
		if err := refused(t, "postgres://u@"+addr+"/d?connect_timeout=1"); !errors.Is(err, driver.ErrUnavailable) {
			t.Errorf("%s: %v, want %v", addr, err, driver.ErrUnavailable)
		}
	}
}

func TestARemoteServerIsNotReachedInPlaintext(t *testing.T) {
	t.Parallel()
	server := servers.PostgreSQL(t) // it has no certificate
	for _, mode := range []string{"disable", "allow", "prefer"} {
		if err := refused(t, at(server, remote, "sslmode="+mode)); !errors.Is(err, store.ErrPlaintext) {
			t.Errorf("sslmode=%s: %v, want %v", mode, err, store.ErrPlaintext)
		}
	}
	for _, mode := range []string{"", "sslmode=require", "sslmode=verify-full"} {
		_ = refused(t, at(server, remote, mode))
	}
	if encrypted(t, at(server, remote, "sslmode=disable", "allow_plaintext=1")) {
		t.Error("a server without a certificate encrypts")
	}
}
