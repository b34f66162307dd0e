package vcenter

import (
	"context"
	"crypto/sha1" // the thumbprint that vCenter shows (vasa.md 1.5)
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"vvsim/vasa/trust"
)

// dialTimeout bounds the look at a certificate.
const dialTimeout = 10 * time.Second

// maxCAFile bounds a file of CA certificates, in bytes.
const maxCAFile = trust.MaxCertificate * trust.MaxRoots

// Presented is the certificate that a server presents.
type Presented struct {
	Leaf        *x509.Certificate
	Certificate trust.Certificate // the same for people, with its thumbprints
	Diagnosis   trust.Diagnosis   // what is wrong with it for those who trust the anchors
}

// Present connects to the host of rawURL, whose scheme is https, and judges what it
// presents for one who trusts anchors; without any, for one who trusts the end of the
// chain that is presented, as a person does who confirms a thumbprint.
func Present(ctx context.Context, rawURL string, anchors []*x509.Certificate, now time.Time) (*Presented, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("%w: %q is no https URL", ErrInvalid, rawURL)
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	address := net.JoinHostPort(u.Hostname(), port)
	// Nothing is sent over this connection; old versions are let in to be told of.
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, ServerName: u.Hostname()}}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("no TLS connection to %s: %w", address, err)
	}
	defer conn.Close()
	c, ok := conn.(*tls.Conn)
	if !ok || len(c.ConnectionState().PeerCertificates) == 0 {
		return nil, fmt.Errorf("%s presents no certificate", address)
	}
	state := c.ConnectionState()
	if len(anchors) == 0 {
		anchors = state.PeerCertificates[len(state.PeerCertificates)-1:]
	}
	p := &Presented{Leaf: state.PeerCertificates[0], Diagnosis: trust.CheckServer(state, rawURL, anchors, now)}
	if len(p.Diagnosis.Links) == 0 {
		return nil, fmt.Errorf("%s presents a chain that cannot be followed: %s", address, strings.Join(p.Diagnosis.Problems, "; "))
	}
	p.Certificate = p.Diagnosis.Links[0].Certificate
	return p, nil
}

// Matches tells whether a thumbprint, SHA-1 or SHA-256, with or without colons, is that
// of the certificate. A text that is neither is ErrInvalid.
func (p *Presented) Matches(thumbprint string) (bool, error) {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(thumbprint), ":", ""))
	if err != nil || len(b) != sha1.Size && len(b) != sha256.Size {
		return false, fmt.Errorf("%w: %q is no thumbprint: 20 (SHA-1) or 32 (SHA-256) bytes in hexadecimal", ErrInvalid, thumbprint)
	}
	if len(b) == sha1.Size {
		sum := sha1.Sum(p.Leaf.Raw)
		return string(sum[:]) == string(b), nil
	}
	sum := sha256.Sum256(p.Leaf.Raw)
	return string(sum[:]) == string(b), nil
}

// ReadCertificates reads a PEM file.
func ReadCertificates(path string) ([]*x509.Certificate, error) {
	b, err := readLimited(path, maxCAFile)
	if err != nil {
		return nil, err
	}
	all, err := trust.ParseCertificates(string(b))
	if err == nil && len(all) == 0 {
		err = errors.New("it holds no certificate")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return all, nil
}

func pemOf(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}
