package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// pair is a private key with the chain of its certificate: the leaf first, an anchor
// last where there is one. It does not change.
type pair struct {
	key   crypto.Signer
	chain []*x509.Certificate
}

func (p *pair) leaf() *x509.Certificate { return p.chain[0] }

func (p *pair) tls() *tls.Certificate {
	c := &tls.Certificate{PrivateKey: p.key, Leaf: p.leaf()}
	for _, cert := range p.chain {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c
}

// encode writes the key and the chain as PEM.
func (p *pair) encode() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return nil, err
	}
	data := pem.EncodeToMemory(&pem.Block{Type: typeKey, Bytes: der})
	for _, cert := range p.chain {
		data = append(data, armour(typeCertificate, cert.Raw)...)
	}
	return data, nil
}

// decodePair reads what encode wrote.
func decodePair(data []byte) (*pair, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != typeKey {
		return nil, errors.New("it does not begin with a private key")
	}
	key, err := parseKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	chain, err := ParseCertificates(string(rest))
	if err != nil {
		return nil, err
	}
	if !matches(chain[0], key) {
		return nil, errors.New("key and certificate do not belong together")
	}
	return &pair{key, chain}, nil
}

// parseKey reads an unencrypted key of a kind that TLS serves.
func parseKey(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		if k, err := x509.ParsePKCS1PrivateKey(der); err == nil {
			key = k
		} else if k, err := x509.ParseECPrivateKey(der); err == nil {
			key = k
		} else {
			return nil, errors.New("no private key in PKCS #8, PKCS #1 or SEC 1 form")
		}
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if n := key.N.BitLen(); n < 2048 || n > 8192 {
			return nil, fmt.Errorf("RSA key of %d bits, TLS takes 2048 to 8192", n)
		}
		return key, nil
	case *ecdsa.PrivateKey:
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	}
	return nil, fmt.Errorf("private key of a kind that TLS cannot serve (%T)", key)
}

func matches(cert *x509.Certificate, key crypto.Signer) bool {
	public, ok := key.Public().(interface{ Equal(x crypto.PublicKey) bool })
	return ok && public.Equal(cert.PublicKey)
}

func newKey(kind KeyKind) (crypto.Signer, error) {
	if kind == RSA3072 {
		return rsa.GenerateKey(rand.Reader, 3072)
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func serial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

// newAuthority makes the own CA. Its name is unique: a client that knows several
// providers finds issuers by name.
func newAuthority(now time.Time) (*pair, error) {
	key, err := newKey(ECDSAP256)
	if err != nil {
		return nil, err
	}
	id := make([]byte, 4)
	_, _ = rand.Read(id) // never fails
	return authorize(key, pkix.Name{Organization: []string{"vvsim"}, CommonName: "vvsim CA " + hex.EncodeToString(id)}, now)
}

// authorize signs a CA certificate with its own key.
func authorize(key crypto.Signer, subject pkix.Name, now time.Time) (*pair, error) {
	number, err := serial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: number, Subject: subject,
		NotBefore: now.Add(-backdate), NotAfter: now.AddDate(validYears, 0, 0),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:     true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	cert, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &pair{key, []*x509.Certificate{cert}}, nil
}

// issue signs a server certificate for key with the own CA. It ends with the CA at the
// latest.
func issue(authority *pair, key crypto.Signer, n *names, now time.Time) (*pair, error) {
	end := now.AddDate(validYears, 0, 0)
	if last := authority.leaf().NotAfter; end.After(last) {
		end = last
	}
	return certify(authority, key, n, now.Add(-backdate), end)
}

// certify signs a server certificate that is valid from a time to another.
func certify(authority *pair, key crypto.Signer, n *names, from, to time.Time) (*pair, error) {
	number, err := serial()
	if err != nil {
		return nil, err
	}
	ca := authority.leaf()
	template := &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{Organization: []string{"vvsim"}, CommonName: n.common()},
		NotBefore: from, NotAfter: to,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, DNSNames: n.dns, IPAddresses: n.ips,
	}
	cert, err := sign(template, ca, key.Public(), authority.key)
	if err != nil {
		return nil, err
	}
	return &pair{key, []*x509.Certificate{cert, ca}}, nil
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// selfSigned tells whether cert is its own issuer.
func selfSigned(cert *x509.Certificate) bool {
	return bytes.Equal(cert.RawSubject, cert.RawIssuer) &&
		cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil
}

// dated returns what is wrong with the dates of cert now.
func dated(cert *x509.Certificate, now time.Time) *UntrustedError {
	name := subject(cert)
	if now.After(cert.NotAfter) {
		return untrusted(Expired, name, "certificate %q expired at %s", name, stamp(cert.NotAfter))
	}
	if skew := cert.NotBefore.Sub(now); skew > 0 {
		e := untrusted(NotYetValid, name, "certificate %q is not valid before %s: the clock here is %s behind it; set the clocks by NTP",
			name, stamp(cert.NotBefore), skew.Round(time.Second))
		e.Skew = skew
		return e
	}
	return nil
}

// subject names a certificate for people.
func subject(cert *x509.Certificate) string {
	if name := cert.Subject.String(); name != "" {
		return name
	}
	return "serial " + number(cert.SerialNumber)
}

func number(n *big.Int) string {
	if n == nil {
		return ""
	}
	return n.Text(16)
}
