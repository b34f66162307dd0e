package trust

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// pendingKey belongs to a signing request without an answer.
type pendingKey struct {
	key     crypto.Signer
	created time.Time
}

const headerCreated = "Created"

func encodePending(keys []pendingKey) (data []byte, _ error) {
	for _, k := range keys {
		der, err := x509.MarshalPKCS8PrivateKey(k.key)
		if err != nil {
			return nil, err
		}
		data = append(data, pem.EncodeToMemory(&pem.Block{Type: typeKey, Bytes: der,
			Headers: map[string]string{headerCreated: k.created.UTC().Format(time.RFC3339Nano)}})...)
	}
	return data, nil
}

func decodePending(data []byte) (keys []pendingKey, _ error) {
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			if len(keys) == 0 || strings.TrimSpace(string(rest)) != "" {
				return nil, errors.New("it does not hold private keys alone")
			}
			return keys, nil
		}
		created, err := time.Parse(time.RFC3339Nano, block.Headers[headerCreated])
		if err != nil {
			return nil, errors.New("a key in it has no date")
		}
		key, err := parseKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		keys, data = append(keys, pendingKey{key, created}), rest
	}
}

// loadPending reads pending keys. The one that is served already was left by a crash.
func (s *Store) loadPending() error {
	data, err := s.disk.read(filePending)
	if err != nil || data == nil {
		return err
	}
	keys, err := decodePending(data)
	if err != nil {
		return s.disk.damaged(filePending, err)
	}
	served := s.served.Load()
	s.pending = slices.DeleteFunc(keys, func(k pendingKey) bool { return served != nil && matches(served.leaf(), k.key) })
	return nil
}

// setPending replaces the pending keys. The caller holds mu.
func (s *Store) setPending(keys []pendingKey) error {
	if len(keys) == 0 {
		if err := s.disk.remove(filePending); err != nil {
			return err
		}
	} else {
		data, err := encodePending(keys)
		if err != nil {
			return err
		}
		if err := s.disk.write(filePending, data); err != nil {
			return err
		}
	}
	s.pending = keys
	return nil
}

// RequestCSR is a certificate signing request (PEM, line feeds alone) with a fresh key
// for every name by which clients reach the provider. The key is kept until InstallSigned
// has its certificate or MaxPending newer ones exist; requests within 10 minutes get the
// same key. ErrRetained if the provider keeps its certificate.
func (s *Store) RequestCSR() (string, error) {
	if s.options.Retain {
		return "", ErrRetained
	}
	return s.SigningRequest()
}

// SigningRequest is RequestCSR for who administers the provider, whether vCenter manages
// its certificate or not.
func (s *Store) SigningRequest() (string, error) {
	n, err := s.options.outside()
	if err != nil {
		return "", err
	}
	if n.first == "" {
		return "", errors.New("no address is configured by which clients reach the provider")
	}
	s.requesting.Lock()
	defer s.requesting.Unlock()
	key, err := s.pendingKey()
	if err != nil {
		return "", err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{Organization: []string{"vvsim"}, CommonName: n.common()}, DNSNames: n.dns, IPAddresses: n.ips}, key)
	if err != nil {
		return "", err
	}
	return armour(typeCSR, der), nil
}

// pendingKey returns the key for a request, a new one unless the last is very young.
func (s *Store) pendingKey() (crypto.Signer, error) {
	s.mu.Lock()
	now := s.options.Clock()
	if n := len(s.pending); n > 0 {
		if age := now.Sub(s.pending[n-1].created); age >= 0 && age < csrReuse {
			defer s.mu.Unlock()
			return s.pending[n-1].key, nil
		}
	}
	s.mu.Unlock()
	key, err := newKey(s.options.CSRKey) // takes a second, in which others change things
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := append(slices.Clone(s.pending), pendingKey{key, now})
	return key, s.setPending(keys[max(0, len(keys)-MaxPending):])
}

// InstallSigned serves the certificate that answers a RequestCSR, or a new one for the
// present key, with its chain in any order. It must come from a registered root, because
// VASA lets anybody call this without login. Unless force is set it must also be for the
// host of the provider's URL. Errors: ErrRetained, InvalidError.
func (s *Store) InstallSigned(text string, force bool) error {
	if s.options.Retain {
		return ErrRetained
	}
	certs, err := ParseCertificates(text)
	if err != nil {
		return invalidCertificate(text, "%v", err)
	}
	host, err := hostOf(s.options.URL)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	leaf, key := s.answered(certs)
	if key == nil {
		return invalidCertificate(text, "no certificate for a key of this provider: it answers no signing request that is known here")
	}
	now := s.options.Clock()
	if err := servable(leaf, now); err != nil {
		return invalidCertificate(text, "%v", err)
	}
	if host != "" && !force && leaf.VerifyHostname(host) != nil && !strings.EqualFold(leaf.Subject.CommonName, host) {
		return invalidCertificate(text, "certificate %q is for %s, not for %q of the provider's URL", subject(leaf), forNames(leaf), host)
	}
	way, err := s.registeredWay(leaf, certs, now)
	if err != nil {
		return invalidCertificate(text, "%v", err)
	}
	if err := s.serve(&pair{key, way}); err != nil {
		return err
	}
	return s.answeredNow(leaf)
}

// answeredNow forgets the pending key that a served certificate is for. The caller holds mu.
func (s *Store) answeredNow(leaf *x509.Certificate) error {
	rest := slices.DeleteFunc(slices.Clone(s.pending), func(k pendingKey) bool { return matches(leaf, k.key) })
	if len(rest) == len(s.pending) {
		return nil
	}
	return s.setPending(rest)
}

// answered finds the certificate for one of our keys. The caller holds mu.
func (s *Store) answered(certs []*x509.Certificate) (*x509.Certificate, crypto.Signer) {
	for _, cert := range certs {
		for _, k := range s.pending {
			if matches(cert, k.key) {
				return cert, k.key
			}
		}
		if served := s.served.Load(); matches(cert, served.key) {
			return cert, served.key
		}
	}
	return nil, nil
}

// registeredWay is a chain from leaf to a registered root on which nothing is revoked.
func (s *Store) registeredWay(leaf *x509.Certificate, certs []*x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	chain := append([]*x509.Certificate{leaf}, certs...)
	v := s.view.Load()
	ways, err := v.ways(chain, now)
	if err != nil {
		return nil, fmt.Errorf("not from a registered root: %w", explain(err, chain, v.roots, now))
	}
	var revoked *UntrustedError
	for _, way := range ways {
		if revoked = v.revokedOn(way); revoked == nil {
			return way, nil
		}
	}
	return nil, revoked
}
