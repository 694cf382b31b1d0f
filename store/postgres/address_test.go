package postgres_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/postgres"
)

func TestPlaintextToARemoteHostNeedsConsent(t *testing.T) {
	for dsn, want := range map[string]error{
		// Without a word about TLS the server has to prove itself.
		"postgres://u:c4n4ry@db.example/d":           nil,
		"postgres://u:c4n4ry@db.example":             nil,
		"postgresql://u:c4n4ry@10.0.0.7:5433/d?a=b":  nil,
		"postgres://u:c4n4ry@[2001:db8::1]:5432/d":   nil,
		"postgres://u:c4n4ry@127.0.0.1,db.example/d": nil,
		"postgres://u:c%3F%40n4ry@db.example/d":      nil,
		"postgres:///d?host=db.example&user=u":       nil,
		// What is encrypted in any case may be said.
		"postgres://u:c4n4ry@db.example/d?sslmode=require":     nil,
		"postgres://u:c4n4ry@db.example/d?ssl=true":            nil,
		"postgres://u:c4n4ry@db.example/d?sslmode=verify-ca":   nil,
		"postgres://u:c4n4ry@db.example/d?sslmode=verify-full": nil,
		// What may end in plaintext needs consent, and no other word is one.
		"postgres://u:c4n4ry@db.example/d?sslmode=disable":                     store.ErrPlaintext,
		"postgres://u:c4n4ry@db.example/d?sslmode=prefer":                      store.ErrPlaintext,
		"postgres://u:c4n4ry@db.example/d?sslmode=allow":                       store.ErrPlaintext,
		"postgres://u:c4n4ry@db.example/d?sslmode=prefer&allow_plaintext=1":    store.ErrPlaintext,
		"postgres://u:c4n4ry@db.example/d?sslmode=disable&allow_plaintext=yes": store.ErrPlaintext,
		"postgres://u:c4n4ry@127.0.0.1,db.example/d?sslmode=disable":           store.ErrPlaintext,
		"postgres://u:c4n4ry@localhost.evil.example/d?sslmode=disable":         store.ErrPlaintext,
		"postgres://u:c4n4ry@h/d?sslmode=disable&host=db.example":              store.ErrPlaintext,
		"postgres://u:c4n4ry@db.example/d?sslmode=disable&allow_plaintext=1":   nil,
		"postgres://u:c4n4ry@db.example/d?allow_plaintext=1":                   nil, // allowed, not wanted: verified
		// This host needs no TLS.
		"postgres://u:c4n4ry@127.0.0.1:5432/d?sslmode=disable":         nil,
		"postgres://u:c4n4ry@127.8.9.10/d":                             nil,
		"postgres://u:c4n4ry@[::1]/d?sslmode=disable":                  nil,
		"postgres://u:c4n4ry@localhost/d?sslmode=prefer":               nil,
		"postgres://u:c4n4ry@/d?host=/run/postgresql&sslmode=disable":  nil,
		"postgres://u:c4n4ry@%2Frun%2Fpostgresql/d?sslmode=disable":    nil,
		"postgres://u:c4n4ry@127.0.0.1,localhost/d?sslmode=disable":    nil,
		"postgres://u:c4n4ry@db.example/d?sslmode=nonsense":            store.ErrDSN,
		"postgres://u:c4n4ry@db.example/d?sslrootcert=/no/such/c4n4ry": store.ErrDSN,
		"postgres://u:c4n4ry@db.example:c4n4ry/d":                      store.ErrDSN,
		"postgres://u:c4n4ry@127.0.0.1/d?%zz":                          store.ErrDSN,
		"postgres:/u:c4n4ry@127.0.0.1/d":                               store.ErrDSN,
		"host=db.example password=c4n4ry":                              store.ErrDSN,
	} {
		err := postgres.CheckAddress(dsn)
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v, want %v", dsn, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "c4n4ry") {
			t.Errorf("%s: the error repeats the address: %v", dsn, err)
		}
	}
}

func TestTheEnvironmentCannotTurnTLSOff(t *testing.T) {
	t.Setenv("PGSSLMODE", "disable")
	// What is asked for is verify-full: its certificate file is read.
	dsn := "postgres://u@db.example/d?sslrootcert=/no/such/file"
	if err := postgres.CheckAddress(dsn); !errors.Is(err, store.ErrDSN) {
		t.Errorf("%v, want ErrDSN, since the certificate is missing", err)
	}
	t.Setenv("PGHOST", "db.example")
	if err := postgres.CheckAddress("postgres:///d?sslmode=disable"); !errors.Is(err, store.ErrPlaintext) {
		t.Errorf("a host of the environment: %v, want ErrPlaintext", err)
	}
}

func TestASettingThatIsNoneIsRefusedBeforeConnecting(t *testing.T) {
	for _, settings := range []map[string]string{
		{"": "1"}, {"a b": "1"}, {"a;drop table x": "1"}, {"_pq_.x": "1"}, {"a.b.c": "1"}, {"work_mem": "1\x00user\x00root"},
		{"options": "-c x=1"}, {"user": "postgres"}, {"Database": "x"}, {"replication": "true"}, {"role": "x"},
		{"session_authorization": "x"}, {"x": strings.Repeat("y", 2000)},
	} {
		o := store.Options{Server: store.ServerOptions{Session: settings}}
		// Nothing listens on the port: who connects gets another error.
		_, err := postgres.Open(t.Context(), "postgres://u@127.0.0.1:1/d", o)
		if !errors.Is(err, store.ErrSession) {
			t.Errorf("%.40q: %v, want ErrSession", settings, err)
		}
	}
}
