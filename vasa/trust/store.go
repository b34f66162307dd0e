package trust

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Store is a provider's keys, certificates and trust in clients. Make one with Open.
type Store struct {
	options Options
	disk    disk
	account *account

	served atomic.Pointer[pair] // what new connections get
	view   atomic.Pointer[view] // whom Verify trusts

	mu        sync.Mutex // one change at a time, until it is on stable storage
	authority *pair
	state     state
	pending   []pendingKey // the oldest first

	requesting sync.Mutex // one RequestCSR at a time
}

// Open reads the store in dir, or makes what is missing there; dir "" keeps all in
// memory. The directory must not be in use by another Store.
func Open(dir string, options Options) (*Store, error) {
	options.ensureDefaults()
	if err := options.validate(); err != nil {
		return nil, err
	}
	n, err := options.wanted()
	if err != nil {
		return nil, err
	}
	s := &Store{options: options, disk: disk(dir)}
	if err := s.disk.prepare(); err != nil {
		return nil, err
	}
	// Everything is read before anything is written: a directory with one damaged file
	// stays as it is.
	if err := s.load(); err != nil {
		return nil, err
	}
	password, err := s.loadPassword()
	if err != nil {
		return nil, err
	}
	s.account = &account{user: options.User, password: password, maximum: options.MaxBadPasswords,
		lock: options.LockTime, others: map[string]failures{}}
	if err := s.complete(n); err != nil {
		return nil, err
	}
	s.view.Store(newView(&s.state))
	return s, nil
}

// load reads the files.
func (s *Store) load() error {
	authority, err := s.loadPair(fileAuthority)
	if err != nil {
		return err
	}
	if authority != nil {
		if ca := authority.leaf(); !ca.IsCA || !selfSigned(ca) {
			return s.disk.damaged(fileAuthority, errors.New("it holds no self-signed CA certificate"))
		}
	}
	s.authority = authority
	served, err := s.loadPair(fileServer)
	if err != nil {
		return err
	}
	if served != nil {
		s.served.Store(served)
	}
	if err := s.loadBundle(); err != nil {
		return err
	}
	if s.state, err = s.loadState(); err != nil {
		return err
	}
	return s.loadPending()
}

func (s *Store) loadPair(name string) (*pair, error) {
	data, err := s.disk.read(name)
	if err != nil || data == nil {
		return nil, err
	}
	p, err := decodePair(data)
	if err != nil {
		return nil, s.disk.damaged(name, err)
	}
	return p, nil
}

// loadBundle checks that ca.pem is ours to replace, and that the CA is not lost.
func (s *Store) loadBundle() error {
	data, err := s.disk.read(fileCA)
	if err != nil {
		return err
	}
	if s.authority == nil {
		if data != nil || s.served.Load() != nil {
			return s.disk.damaged(fileAuthority, errors.New("it is missing while certificates of it exist"))
		}
		return nil
	}
	if data == nil {
		return nil
	}
	certs, err := ParseCertificates(string(data))
	if err != nil {
		return s.disk.damaged(fileCA, err)
	}
	if !matches(certs[0], s.authority.key) { // by key: a renewed CA may not have reached this file
		return s.disk.damaged(fileCA, fmt.Errorf("its first certificate is not that of %s", fileAuthority))
	}
	return nil
}

// complete makes what is missing and renews what does not fit any more.
func (s *Store) complete(n *names) error {
	now := s.options.Clock()
	if s.authority == nil {
		authority, err := newAuthority(now)
		if err != nil {
			return err
		}
		if err := s.writePair(fileAuthority, authority); err != nil {
			return err
		}
		s.authority = authority
	}
	served := s.served.Load()
	switch {
	case served == nil:
		key, err := newKey(ECDSAP256)
		if err != nil {
			return err
		}
		return s.reissue(key, n, now)
	case s.own(served) && (now.After(served.leaf().NotAfter) || len(n.missing(served.leaf())) > 0):
		return s.reissue(served.key, n, now)
	}
	return s.disk.write(fileCA, s.bundle(served))
}

// own tells whether the own CA issued p.
func (s *Store) own(p *pair) bool {
	return p.leaf().CheckSignatureFrom(s.authority.leaf()) == nil
}

// reissue serves a certificate of the own CA. The caller holds mu, or is Open.
func (s *Store) reissue(key crypto.Signer, n *names, now time.Time) error {
	if s.authority.leaf().NotAfter.Sub(now) < renewCA {
		authority, err := authorize(s.authority.key, s.authority.leaf().Subject, now)
		if err != nil {
			return err
		}
		if err := s.writePair(fileAuthority, authority); err != nil {
			return err
		}
		s.authority = authority
	}
	p, err := issue(s.authority, key, n, now)
	if err != nil {
		return err
	}
	return s.serve(p)
}

// serve puts p on stable storage and gives it to new connections. ca.pem goes first:
// an anchor too many harms nobody. The caller holds mu, or is Open.
func (s *Store) serve(p *pair) error {
	if err := s.disk.write(fileCA, s.bundle(p)); err != nil {
		return err
	}
	if err := s.writePair(fileServer, p); err != nil {
		return err
	}
	s.served.Store(p)
	return nil
}

func (s *Store) writePair(name string, p *pair) error {
	data, err := p.encode()
	if err != nil {
		return err
	}
	return s.disk.write(name, data)
}

// bundle is ca.pem while p is served.
func (s *Store) bundle(p *pair) []byte {
	text := armour(typeCertificate, s.authority.leaf().Raw)
	if anchor := p.chain[len(p.chain)-1]; !s.own(p) {
		text += armour(typeCertificate, anchor.Raw)
	}
	return []byte(text)
}

// CAFile is the path of a PEM file with which clients verify the provider's
// certificate, whoever signed it; "" in memory.
func (s *Store) CAFile() string {
	if s.disk == "" {
		return ""
	}
	return s.disk.path(fileCA)
}

// CAPEM is the content of that file. The caller owns it.
func (s *Store) CAPEM() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bundle(s.served.Load())
}

// Retain is what VasaProviderInfo.retainVasaProviderCertificate tells.
func (s *Store) Retain() bool { return s.options.Retain }

// ServerConfig is for the provider's listener. A changed certificate is served to new
// connections at once, existing ones stay. The caller owns the configuration.
func (s *Store) ServerConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		MaxVersion: tls.VersionTLS13,
		ClientAuth: tls.RequestClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return s.served.Load().tls(), nil
		},
		SessionTicketsDisabled: true,
	}
}

// Certificate is the provider's certificate as new connections get it.
func (s *Store) Certificate() *x509.Certificate { return s.served.Load().leaf() }

// Import serves a certificate from elsewhere, for who administers the provider: PEM of the
// certificate followed by its chain, and PEM of its unencrypted private key, or no key where it
// answers a signing request. Unlike InstallSigned it takes certificates of any issuer. An
// InvalidError tells what is wrong.
func (s *Store) Import(certificates, key string) error {
	chain, err := ParseCertificates(certificates)
	if err != nil {
		return invalidCertificate(certificates, "%v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var private crypto.Signer
	if key == "" {
		_, private = s.answered(chain[:1])
	} else if private, err = importedKey(key); err != nil {
		return err
	}
	if private == nil {
		return invalidCertificate(certificates, "the first certificate, %q, answers no signing request that is known here, and there is no key", subject(chain[0]))
	}
	if !matches(chain[0], private) {
		return invalidCertificate(certificates, "the first certificate, %q, does not belong to the key", subject(chain[0]))
	}
	if err := servable(chain[0], s.options.Clock()); err != nil {
		return invalidCertificate(certificates, "%v", err)
	}
	for i, cert := range chain[1:] {
		if err := chain[i].CheckSignatureFrom(cert); err != nil {
			return invalidCertificate(certificates, "certificate %q was not issued by %q, which follows it", subject(chain[i]), subject(cert))
		}
	}
	if err := s.serve(&pair{private, chain}); err != nil {
		return err
	}
	return s.answeredNow(chain[0])
}

// importedKey reads PEM in which one block is a private key. Errors do not quote it.
func importedKey(text string) (crypto.Signer, error) {
	if strings.Contains(text, "ENCRYPTED") {
		return nil, errors.New("the private key is encrypted; decrypt it first")
	}
	for _, label := range []string{typeKey, "RSA PRIVATE KEY", "EC PRIVATE KEY"} {
		_, rest, found := strings.Cut(text, "-----BEGIN "+label+"-----")
		body, _, ended := strings.Cut(rest, "-----END "+label+"-----")
		if !found || !ended {
			continue
		}
		der, err := decode(body, MaxCertificate)
		if err != nil {
			return nil, errors.New("the private key is damaged")
		}
		return parseKey(der)
	}
	return nil, errors.New("no PEM of a private key")
}

// servable refuses what no client could take as a server's certificate.
func servable(cert *x509.Certificate, now time.Time) error {
	if cert.IsCA && !selfSigned(cert) {
		return fmt.Errorf("%q is the certificate of a CA", subject(cert))
	}
	if e := dated(cert, now); e != nil {
		return e
	}
	return nil
}

// Renew serves a new certificate of the own CA with a new key. It is also the way back
// from a certificate that was signed or imported.
func (s *Store) Renew() error {
	n, err := s.options.wanted()
	if err != nil {
		return err
	}
	key, err := newKey(ECDSAP256)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reissue(key, n, s.options.Clock())
}
