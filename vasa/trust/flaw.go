package trust

import (
	"crypto/tls"
	"fmt"
	"time"
)

// Flaw is what is wrong with a certificate that Flawed makes.
type Flaw string

const (
	FlawExpired Flaw = "expired"    // its time is over
	FlawName    Flaw = "wrong-name" // it is for another host
	FlawIssuer  Flaw = "untrusted"  // its CA is one that nobody knows
)

// flawedName is the host of certificates with FlawName; RFC 2606 2 keeps it from being one.
const flawedName = "other.invalid"

// Flawed makes a server certificate that clients have to refuse, as the provider's own in
// all but the flaw: its key, its names, and the own CA, which those that are signed
// elsewhere did not have. It is kept nowhere.
func (s *Store) Flawed(f Flaw) (*tls.Certificate, error) {
	served := s.served.Load()
	s.mu.Lock()
	authority := s.authority
	s.mu.Unlock()
	now, leaf := s.options.Clock(), served.leaf()
	n := &names{first: leaf.Subject.CommonName, dns: leaf.DNSNames, ips: leaf.IPAddresses}
	from, to := now.Add(-backdate), now.AddDate(1, 0, 0)
	var err error
	switch f {
	case FlawExpired:
		from, to = now.AddDate(-1, 0, 0), now.Add(-time.Hour)
	case FlawName:
		n = &names{first: flawedName, dns: []string{flawedName}}
	case FlawIssuer:
		if authority, err = newAuthority(now); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("%q is no flaw of a certificate", f)
	}
	p, err := certify(authority, served.key, n, from, to)
	if err != nil {
		return nil, err
	}
	return p.tls(), nil
}
