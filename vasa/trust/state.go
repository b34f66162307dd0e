package trust

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// fingerprint is the SHA-256 of a certificate or CRL in DER.
type fingerprint [sha256.Size]byte

// known is a certificate in the store. It does not change.
type known struct {
	print fingerprint
	der   []byte
	cert  *x509.Certificate // nil: this build cannot parse it
}

// list is a CRL in the store. It does not change.
type list struct {
	print   fingerprint
	der     []byte
	crl     *x509.RevocationList // nil: this build cannot parse it
	revoked map[string]bool      // serial numbers, as text
	scope   string               // lists with the same replace each other
}

// registration is one owner's set. It does not change; a change makes another.
type registration struct {
	owner       string
	at, changed time.Time
	roots       []*known
	crls        []*list
}

// client is a certificate registered by itself.
type client struct {
	known
	owner string
	at    time.Time
}

// state is whom the provider trusts, in order of registration. Its slices are never
// changed in place: a view and a failed change may still use them.
type state struct {
	registrations []*registration
	clients       []*client
}

func (s *state) registration(owner string) *registration {
	if i := slices.IndexFunc(s.registrations, func(r *registration) bool { return r.owner == owner }); i >= 0 {
		return s.registrations[i]
	}
	return nil
}

func (r *registration) has(print fingerprint) bool {
	return slices.ContainsFunc(r.roots, func(k *known) bool { return k.print == print })
}

func newKnown(cert *x509.Certificate) *known {
	return &known{print: sha256.Sum256(cert.Raw), der: cert.Raw, cert: cert}
}

func newList(crl *x509.RevocationList) *list {
	l := &list{print: sha256.Sum256(crl.Raw), der: crl.Raw, crl: crl, revoked: map[string]bool{}}
	for _, e := range crl.RevokedCertificateEntries {
		// A delta CRL takes an entry off the base; an indirect CRL speaks of other issuers.
		if e.ReasonCode != removeFromCRL && !slices.ContainsFunc(e.Extensions, isCertificateIssuer) {
			l.revoked[number(e.SerialNumber)] = true
		}
	}
	scope := bytes.Clone(crl.RawIssuer)
	scope = append(scope, crl.AuthorityKeyId...)
	for _, x := range crl.Extensions {
		if x.Id.Equal(oidDelta()) || x.Id.Equal(oidDistributionPoint()) {
			scope = append(append(scope, x.Id.String()...), x.Value...)
		}
	}
	l.scope = string(scope)
	return l
}

// newer tells which of two CRLs of one scope counts (RFC 5280 5.2.3).
func (l *list) newer(than *list) bool {
	a, b := l.crl, than.crl
	if a.Number != nil && b.Number != nil && a.Number.Cmp(b.Number) != 0 {
		return a.Number.Cmp(b.Number) > 0
	}
	return a.ThisUpdate.After(b.ThisUpdate)
}

// The file: a line with format and checksum, then JSON.
const clientsHeader = "vvsim-clients 1 sha256=%x\n"

type savedState struct {
	Registrations []savedRegistration `json:"registrations"`
	Clients       []savedClient       `json:"clients"`
}

type savedRegistration struct {
	Owner      string    `json:"owner"`
	Registered time.Time `json:"registered"`
	Changed    time.Time `json:"changed"`
	Roots      [][]byte  `json:"roots"` // DER
	CRLs       [][]byte  `json:"crls"`  // DER
}

type savedClient struct {
	Owner       string    `json:"owner"`
	Registered  time.Time `json:"registered"`
	Certificate []byte    `json:"certificate"` // DER
}

func (s *state) encode() ([]byte, error) {
	var saved savedState
	for _, r := range s.registrations {
		sr := savedRegistration{Owner: r.owner, Registered: r.at, Changed: r.changed}
		for _, k := range r.roots {
			sr.Roots = append(sr.Roots, k.der)
		}
		for _, l := range r.crls {
			sr.CRLs = append(sr.CRLs, l.der)
		}
		saved.Registrations = append(saved.Registrations, sr)
	}
	for _, c := range s.clients {
		saved.Clients = append(saved.Clients, savedClient{c.owner, c.at, c.der})
	}
	body, err := json.Marshal(saved)
	if err != nil {
		return nil, err
	}
	return append(fmt.Appendf(nil, clientsHeader, sha256.Sum256(body)), body...), nil
}

func decodeState(data []byte) (s state, err error) {
	header, body, _ := bytes.Cut(data, []byte("\n"))
	if !bytes.HasPrefix(header, []byte("vvsim-clients ")) {
		return s, errors.New("it is not a file of this program")
	}
	if string(header)+"\n" != fmt.Sprintf(clientsHeader, sha256.Sum256(body)) {
		return s, errors.New("its checksum is wrong")
	}
	var saved savedState
	if err := json.Unmarshal(body, &saved); err != nil {
		return s, err
	}
	for _, sr := range saved.Registrations {
		r := &registration{owner: sr.Owner, at: sr.Registered, changed: sr.Changed}
		for _, der := range sr.Roots {
			r.roots = append(r.roots, parseKnown(der))
		}
		for _, der := range sr.CRLs {
			r.crls = append(r.crls, parseList(der))
		}
		s.registrations = append(s.registrations, r)
	}
	for _, sc := range saved.Clients {
		s.clients = append(s.clients, &client{known: *parseKnown(sc.Certificate), owner: sc.Owner, at: sc.Registered})
	}
	return s, nil
}

// parseKnown reads a certificate of the store. What an earlier build took and this one
// does not is kept and skipped (vasa.md 10).
func parseKnown(der []byte) *known {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return &known{print: sha256.Sum256(der), der: der}
	}
	return newKnown(cert)
}

func parseList(der []byte) *list {
	crl, err := x509.ParseRevocationList(der)
	if err != nil {
		return &list{print: sha256.Sum256(der), der: der}
	}
	return newList(crl)
}

func (s *Store) loadState() (state, error) {
	data, err := s.disk.read(fileClients)
	if err != nil || data == nil {
		return state{}, err
	}
	st, err := decodeState(data)
	if err != nil {
		return state{}, s.disk.damaged(fileClients, err)
	}
	return st, nil
}

// change puts a new state on stable storage and then into effect. The caller holds mu.
func (s *Store) change(next state) error {
	data, err := next.encode()
	if err != nil {
		return err
	}
	if err := s.disk.write(fileClients, data); err != nil {
		return err
	}
	s.state = next
	s.view.Store(newView(&next))
	return nil
}
