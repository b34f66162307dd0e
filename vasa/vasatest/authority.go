package vasatest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// Authority issues certificates, as the VMCA of one vCenter does.
type Authority struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// validity of what an Authority issues, on both sides of now.
const validity = 24 * time.Hour

// NewAuthority makes an authority with a new key.
func NewAuthority(name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := template(name)
	t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	cert, err := sign(t, t, &key.PublicKey, key)
	return &Authority{cert, key}, err
}

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)) // crypto/rand does not fail
	now := time.Now()
	return &x509.Certificate{SerialNumber: serial.Add(serial, big.NewInt(1)), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-validity), NotAfter: now.Add(validity)}
}

func sign(t, parent *x509.Certificate, public any, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// PEM is the authority's certificate, as registerCACertificatesAndCRLs takes it.
func (a *Authority) PEM() string { return PEM(a.Certificate) }

// PEM writes a certificate.
func PEM(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// Issue makes a client certificate; change, if any, edits it before it is signed.
func (a *Authority) Issue(name string, change func(*x509.Certificate)) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := template(name)
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if change != nil {
		change(t)
	}
	leaf, err := sign(t, a.Certificate, &key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw, a.Certificate.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// Sign answers a certificate signing request, in PEM, as VMCA does for a provider.
func (a *Authority) Sign(csr string) (string, error) {
	block, _ := pem.Decode([]byte(csr))
	if block == nil {
		return "", x509.ErrUnsupportedAlgorithm
	}
	req, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return "", err
	}
	if err := req.CheckSignature(); err != nil {
		return "", err
	}
	t := template(req.Subject.CommonName)
	t.Subject, t.DNSNames, t.IPAddresses = req.Subject, req.DNSNames, req.IPAddresses
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	c, err := sign(t, a.Certificate, req.PublicKey, a.key)
	if err != nil {
		return "", err
	}
	return PEM(c), nil
}

// Revoke makes a CRL, in PEM, that lists certificates.
func (a *Authority) Revoke(number int64, certs ...*x509.Certificate) (string, error) {
	now := time.Now()
	l := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(validity)}
	for _, c := range certs {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: now})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, a.Certificate, a.key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})), nil
}

// CheckCSR tells what is wrong with the form of a signing request: its label and carriage
// returns fail VMware's certification (vasa.md 1.5), and a request without a name for the
// address in the URL gives a certificate that no client takes.
func CheckCSR(csr string) error {
	block, rest := pem.Decode([]byte(csr))
	switch {
	case block == nil:
		return errors.New("the signing request is not PEM")
	case block.Type != "CERTIFICATE REQUEST":
		return fmt.Errorf("the signing request has the label %q, not CERTIFICATE REQUEST", block.Type)
	case strings.Contains(csr, "\r"):
		return errors.New("the signing request has carriage returns")
	case strings.TrimSpace(string(rest)) != "":
		return errors.New("there is something behind the signing request")
	}
	req, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return err
	}
	if len(req.DNSNames)+len(req.IPAddresses) == 0 {
		return errors.New("the signing request has no subjectAltName")
	}
	return nil
}
