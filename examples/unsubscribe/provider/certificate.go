package provider

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// lifetime of the certificates: longer than any demo.
const lifetime = 30 * 24 * time.Hour

// certificate is a server's certificate with the authority that signed it.
// The authority's key is forgotten, so that nothing else can be signed.
type certificate struct {
	authority *x509.Certificate
	leaf      tls.Certificate
}

func newCertificate(hosts []string) (*certificate, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := template(1, "Posthorn demo authority")
	ca.IsCA, ca.KeyUsage = true, x509.KeyUsageCertSign
	authority, err := sign(ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	server := template(2, "Posthorn demo list provider")
	server.DNSNames = append([]string{"localhost"}, hosts...)
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	server.KeyUsage = x509.KeyUsageDigitalSignature
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	leaf, err := sign(server, authority, &key.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	return &certificate{authority: authority, leaf: tls.Certificate{
		Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf,
	}}, nil
}

func template(serial int64, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(lifetime), BasicConstraintsValid: true,
	}
}

func sign(what, by *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, what, by, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c.leaf}, MinVersion: tls.VersionTLS12}
}

func (c *certificate) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.authority.Raw})
}
