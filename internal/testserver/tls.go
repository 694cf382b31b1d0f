//go:build linux || darwin

package testserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// An Authority signs the certificates of servers. Nobody trusts it who was not
// told of its own certificate.
type Authority struct {
	File string // its certificate, in PEM form

	dir         string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes an authority whose files end with the test.
func NewAuthority(t Test) *Authority {
	t.Helper()
	parent := os.TempDir()
	if (&account{}).reaches(parent) != nil {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "posthorn-tls-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	a := &Authority{File: filepath.Join(dir, "ca.pem"), dir: dir, certificate: form("authority")}
	a.certificate.IsCA, a.certificate.KeyUsage = true, x509.KeyUsageCertSign
	a.certificate.BasicConstraintsValid = true
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err == nil {
		err = errors.Join(os.Chmod(dir, 0o711), a.sign(a.certificate, a.key, a.File)) //nolint:gosec // servers pass through
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// form is a certificate that is not signed yet.
func form(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
}

// sign writes a signed certificate.
func (a *Authority) sign(c *x509.Certificate, key *ecdsa.PrivateKey, file string) error {
	der, err := x509.CreateCertificate(rand.Reader, c, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return os.WriteFile(file, text, 0o644) //nolint:gosec // servers read it
}

// PostgreSQL are options of a server that proves to be each of the hosts, names
// or addresses.
func (a *Authority) PostgreSQL(t Test, o Options, hosts ...string) Options {
	t.Helper()
	certificate, key := a.issue(t, postgreSQL(), hosts)
	return with(o, map[string]string{"ssl": "on", "ssl_cert_file": certificate, "ssl_key_file": key})
}

// MariaDB are options of a server that proves to be each of the hosts, names or
// addresses.
func (a *Authority) MariaDB(t Test, o Options, hosts ...string) Options {
	t.Helper()
	certificate, key := a.issue(t, mariaDB(), hosts)
	return with(o, map[string]string{"ssl_cert": certificate, "ssl_key": key})
}

// with adds settings.
func with(o Options, settings map[string]string) Options {
	maps.Copy(settings, o.Settings)
	o.Settings = settings
	return o
}

// issue makes a certificate, and a key that only the server's account may read.
func (a *Authority) issue(t Test, p product, hosts []string) (certificate, key string) {
	t.Helper()
	c := form(p.name)
	c.KeyUsage, c.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, host)
		}
	}
	certificate, key = filepath.Join(a.dir, p.thing+".pem"), filepath.Join(a.dir, p.thing+".key")
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err == nil {
		err = errors.Join(a.sign(c, private, certificate), writeKey(key, private, p.accounts))
	}
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

// writeKey gives a key to the account that will serve.
func writeKey(file string, key *ecdsa.PrivateKey, accounts []string) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	who, err := accountFor(accounts)
	if err != nil {
		return err
	}
	return who.own(file)
}
