package trust

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	typeCertificate = "CERTIFICATE"
	typeCRL         = "X509 CRL"
	typeKey         = "PRIVATE KEY"
	typeCSR         = "CERTIFICATE REQUEST"
)

// ParseCertificates reads certificates as VASA clients send them: PEM, one or many, with
// any line ends or none at all, or the bare base64 of one certificate (vasa.md 1.5).
// Text outside the armour is ignored, another kind of PEM block is an error.
func ParseCertificates(text string) ([]*x509.Certificate, error) {
	ders, err := blocks(text, MaxCertificate, typeCertificate, "X509 CERTIFICATE")
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for _, der := range ders {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("no X.509 certificate: %w", err)
		}
		certs = append(certs, cert)
	}
	return certs, nil
}

// ParseCRLs reads certificate revocation lists in the same forms.
func ParseCRLs(text string) ([]*x509.RevocationList, error) {
	ders, err := blocks(text, MaxCRL, typeCRL, "CRL")
	if err != nil {
		return nil, err
	}
	var lists []*x509.RevocationList
	for _, der := range ders {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, fmt.Errorf("no X.509 CRL: %w", err)
		}
		lists = append(lists, list)
	}
	return lists, nil
}

// blocks returns the DER values of at most limit bytes in text.
func blocks(text string, limit int, labels ...string) (ders [][]byte, err error) {
	const begin, end, dashes = "-----BEGIN ", "-----END ", "-----"
	if len(text) > maxText {
		return nil, fmt.Errorf("text of %d characters, more than %d", len(text), maxText)
	}
	if !strings.Contains(text, begin) {
		der, err := decode(text, limit)
		if err != nil {
			return nil, err
		}
		return [][]byte{der}, nil
	}
	for {
		_, rest, found := strings.Cut(text, begin)
		if !found {
			return ders, nil
		}
		label, rest, found := strings.Cut(rest, dashes)
		if !found || !slices.Contains(labels, label) {
			return nil, fmt.Errorf("PEM block %.40q where %s is expected", label, labels[0])
		}
		body, rest, found := strings.Cut(rest, end+label+dashes)
		if !found {
			return nil, fmt.Errorf("PEM block %s without its end", label)
		}
		der, err := decode(body, limit)
		if err != nil {
			return nil, err
		}
		if ders = append(ders, der); len(ders) > MaxRoots {
			return nil, fmt.Errorf("more than %d PEM blocks", MaxRoots)
		}
		text = rest
	}
}

// decode reads base64 with any white space in it.
func decode(text string, limit int) ([]byte, error) {
	text = strings.Join(strings.Fields(text), "")
	if text == "" {
		return nil, errors.New("empty")
	}
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("neither PEM nor base64")
	}
	if len(der) > limit {
		return nil, fmt.Errorf("%d bytes, more than %d", len(der), limit)
	}
	return der, nil
}

// armour is PEM with line feeds alone, as vCenter wants it.
func armour(label string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
}
