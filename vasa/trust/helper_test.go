package trust_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/trust"
)

// start is the time in which tests begin.
var start = time.Date(2030, 6, 1, 12, 0, 0, 0, time.UTC)

// clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: start} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// options of most tests: several vCenters, fast keys, no machine.
func options(c *clock) trust.Options {
	return trust.Options{
		Addresses: []string{"127.0.0.1:8443"}, URL: "https://array.lab:8443/vasa/version.xml", HostName: "array",
		Retain: true, CSRKey: trust.ECDSAP256, Clock: c.Now,
		Interfaces: func() ([]net.Addr, error) { return nil, nil },
	}
}

func open(t *testing.T, dir string, o trust.Options) *trust.Store {
	t.Helper()
	s, err := trust.Open(dir, o)
	require.NoError(t, err)
	return s
}

// party is a key and its certificate.
type party struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func (p *party) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw}))
}

func (p *party) keyPEM(t *testing.T) string {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func newKey(t *testing.T) crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

// certify makes a certificate from a template, by issuer or by itself.
func certify(t *testing.T, issuer *party, key crypto.Signer, template x509.Certificate) *party {
	t.Helper()
	if template.SerialNumber == nil {
		n, err := rand.Int(rand.Reader, big.NewInt(1<<62))
		require.NoError(t, err)
		template.SerialNumber = n
	}
	if template.NotBefore.IsZero() {
		template.NotBefore = start.Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = start.AddDate(1, 0, 0)
	}
	parent, signer := &template, key
	if issuer != nil {
		parent, signer = issuer.cert, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, key.Public(), signer)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &party{key, cert}
}

func caTemplate(name string) x509.Certificate {
	return x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
}

func newCA(t *testing.T, name string) *party {
	return certify(t, nil, newKey(t), caTemplate(name))
}

func subCA(t *testing.T, issuer *party, name string) *party {
	return certify(t, issuer, newKey(t), caTemplate(name))
}

func leafTemplate(name string) x509.Certificate {
	return x509.Certificate{Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
}

func newLeaf(t *testing.T, issuer *party, name string) *party {
	return certify(t, issuer, newKey(t), leafTemplate(name))
}

func (p *party) chain(more ...*party) []*x509.Certificate {
	certs := []*x509.Certificate{p.cert}
	for _, m := range more {
		certs = append(certs, m.cert)
	}
	return certs
}

// revoke makes a CRL of issuer.
func revoke(t *testing.T, issuer *party, number int64, change func(*x509.RevocationList), revoked ...*party) string {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: start.Add(-time.Minute), NextUpdate: start.Add(24 * time.Hour)}
	for _, p := range revoked {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: p.cert.SerialNumber, RevocationTime: start.Add(-time.Hour)})
	}
	if change != nil {
		change(l)
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, issuer.cert, issuer.key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
}

// register registers roots that must be taken.
func register(t *testing.T, s *trust.Store, owner string, roots []*party, crls ...string) trust.Registered {
	t.Helper()
	r, err := s.Register(owner, pems(roots), crls)
	require.NoError(t, err)
	return r
}

func pems(all []*party) (texts []string) {
	for _, p := range all {
		texts = append(texts, p.pem())
	}
	return texts
}

// broken demands an UntrustedError of one kind.
func broken(t *testing.T, err error, kind trust.Break) *trust.UntrustedError {
	t.Helper()
	var e *trust.UntrustedError
	require.ErrorAs(t, err, &e)
	require.Equal(t, kind, e.Break, e.Text)
	return e
}

// publicOnly stands for the owner of a public key whose private key is elsewhere.
type publicOnly struct {
	crypto.Signer
	public crypto.PublicKey
}

func (p publicOnly) Public() crypto.PublicKey { return p.public }

func revokedSerial() *big.Int { return big.NewInt(4711) }

func signed(ca *party, change func(*x509.Certificate)) func(*testing.T, *x509.CertificateRequest) string {
	return func(t *testing.T, csr *x509.CertificateRequest) string { return answer(t, ca, csr, change) }
}
