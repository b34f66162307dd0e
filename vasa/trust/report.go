package trust

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"strings"
	"time"
)

// Certificate describes a certificate for people and for the API.
type Certificate struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Serial    string    `json:"serial"` // hexadecimal
	Names     []string  `json:"names"`  // DNS names and IP addresses of subjectAltName
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	SHA256    string    `json:"sha256"` // AB:CD:…
	SHA1      string    `json:"sha1"`   // the thumbprint that vCenter shows
	Key       string    `json:"key"`
	CA        bool      `json:"ca"`
	State     State     `json:"state"`
}

// State of a certificate's dates.
type State string

// States.
const (
	Valid      State = "valid"
	Expiring   State = "expiring" // within the warning time
	HasExpired State = "expired"
	Early      State = "not yet valid"
	Unreadable State = "unreadable" // by this build; skipped
)

// Source tells where the served certificate comes from.
type Source string

// Sources.
const (
	FromOwnCA      Source = "own CA"
	FromRegistered Source = "registered root" // signed by a vCenter's CA
	FromOutside    Source = "imported"
)

// Root is a trusted root.
type Root struct {
	Certificate
	Owner      string    `json:"owner"`
	Registered time.Time `json:"registered"` // the owner's first time
	Changed    time.Time `json:"changed"`    // the owner's set as it is
}

// Client is a certificate that was registered by itself.
type Client struct {
	Certificate
	Owner      string    `json:"owner"`
	Registered time.Time `json:"registered"`
}

// CRL is a revocation list.
type CRL struct {
	Issuer     string    `json:"issuer"`
	Number     string    `json:"number,omitempty"`
	ThisUpdate time.Time `json:"thisUpdate"`
	NextUpdate time.Time `json:"nextUpdate"`
	Revoked    int       `json:"revoked"` // certificates
	Owner      string    `json:"owner"`
	// Verified: a registered root signed it. Otherwise it counts for chains that bring
	// its issuer along.
	Verified bool `json:"verified"`
}

// Warning is something that is or will be wrong.
type Warning struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// Codes of warnings.
const (
	WarnExpiring   = "expiring"
	WarnExpired    = "expired"
	WarnEarly      = "not-yet-valid"
	WarnName       = "wrong-name"
	WarnCRL        = "crl-out-of-date"
	WarnUnverified = "crl-unverified"
	WarnUnreadable = "unreadable"
	WarnNobody     = "nobody-registered"
)

// Report is all that is to know of a store, without secrets.
type Report struct {
	URL      string        `json:"url"`
	User     string        `json:"user"`
	Retain   bool          `json:"retain"`
	Source   Source        `json:"source"`
	Served   Certificate   `json:"served"`
	Chain    []Certificate `json:"chain"` // served after it
	CA       Certificate   `json:"ca"`    // the own one
	Pending  []time.Time   `json:"pending"`
	Roots    []Root        `json:"roots"`
	Clients  []Client      `json:"clients"`
	CRLs     []CRL         `json:"crls"`
	Warnings []Warning     `json:"warnings"`
}

// Report describes the store now. The caller owns it.
func (s *Store) Report() Report {
	s.mu.Lock()
	st, authority, served, v := s.state, s.authority, s.served.Load(), s.view.Load()
	r := Report{URL: s.options.URL, User: s.account.user, Retain: s.options.Retain}
	for _, k := range s.pending {
		r.Pending = append(r.Pending, k.created)
	}
	s.mu.Unlock()

	now, soon := s.options.Clock(), s.options.ExpiryWarning
	r.Served, r.CA = describe(served.leaf(), now, soon), describe(authority.leaf(), now, soon)
	for _, cert := range served.chain[1:] {
		r.Chain = append(r.Chain, describe(cert, now, soon))
	}
	switch _, err := v.ways(served.chain, now); {
	case served.leaf().CheckSignatureFrom(authority.leaf()) == nil:
		r.Source = FromOwnCA
	case err == nil:
		r.Source = FromRegistered
	default:
		r.Source = FromOutside
	}
	r.warnServed(served, now, soon)
	if host := s.options.told(); host != "" && served.leaf().VerifyHostname(host) != nil {
		r.warn(WarnName, "the provider's certificate is for %s, not for %q of its URL", forNames(served.leaf()), host)
	}
	r.addClients(st, v, now, soon)
	return r
}

func (r *Report) warn(code, format string, args ...any) {
	r.Warnings = append(r.Warnings, Warning{code, fmt.Sprintf(format, args...)})
}

func (r *Report) warnServed(served *pair, now time.Time, soon time.Duration) {
	for _, cert := range served.chain {
		if w, ok := ending(cert, now, soon); ok {
			w.Text = "served by the provider: " + w.Text
			r.Warnings = append(r.Warnings, w)
		}
	}
}

func (r *Report) addClients(st state, v *view, now time.Time, soon time.Duration) {
	for _, g := range st.registrations {
		for _, k := range g.roots {
			r.Roots = append(r.Roots, Root{Certificate: r.known(k, "root of "+g.owner, now, soon), Owner: g.owner, Registered: g.at, Changed: g.changed})
		}
		for _, l := range g.crls {
			r.addCRL(g.owner, l, v, now)
		}
	}
	for _, c := range st.clients {
		r.Clients = append(r.Clients, Client{Certificate: r.known(&c.known, "client "+c.owner, now, soon), Owner: c.owner, Registered: c.at})
	}
	if len(r.Roots)+len(r.Clients) == 0 {
		r.warn(WarnNobody, "no vCenter is registered: no client is trusted")
	}
}

// known describes a certificate of the store and warns of what it has.
func (r *Report) known(k *known, what string, now time.Time, soon time.Duration) Certificate {
	if k.cert == nil {
		c := Certificate{SHA256: colons(k.der), SHA1: thumbprint(k.der), State: Unreadable}
		r.warn(WarnUnreadable, "%s: certificate %s cannot be read and is skipped", what, c.SHA256)
		return c
	}
	if w, ok := ending(k.cert, now, soon); ok {
		w.Text = what + ": " + w.Text
		r.Warnings = append(r.Warnings, w)
	}
	return describe(k.cert, now, soon)
}

func (r *Report) addCRL(owner string, l *list, v *view, now time.Time) {
	if l.crl == nil {
		r.CRLs = append(r.CRLs, CRL{Owner: owner})
		r.warn(WarnUnreadable, "a CRL of %s cannot be read and is skipped", owner)
		return
	}
	c := CRL{Issuer: l.crl.Issuer.String(), Number: number(l.crl.Number), ThisUpdate: l.crl.ThisUpdate, NextUpdate: l.crl.NextUpdate,
		Revoked: len(l.revoked), Owner: owner}
	for _, root := range v.roots {
		c.Verified = c.Verified || (string(root.RawSubject) == string(l.crl.RawIssuer) && v.signedBy(l, root))
	}
	r.CRLs = append(r.CRLs, c)
	if why := l.outdated(now); why != "" {
		r.warn(WarnCRL, "%s; what it lists stays revoked", why)
	}
	if !c.Verified {
		r.warn(WarnUnverified, "no registered root signed the CRL of %q", c.Issuer)
	}
}

func describe(cert *x509.Certificate, now time.Time, soon time.Duration) Certificate {
	return Certificate{
		Subject: subject(cert), Issuer: cert.Issuer.String(), Serial: number(cert.SerialNumber), Names: alternatives(cert),
		NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, SHA256: colons(cert.Raw), SHA1: thumbprint(cert.Raw),
		Key: keyKind(cert), CA: anchor(cert), State: stateOf(cert, now, soon),
	}
}

func alternatives(cert *x509.Certificate) []string {
	all := append([]string{}, cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		all = append(all, ip.String())
	}
	return all
}

func keyKind(cert *x509.Certificate) string {
	switch key := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return cert.PublicKeyAlgorithm.String()
}

func stateOf(cert *x509.Certificate, now time.Time, soon time.Duration) State {
	switch {
	case now.Before(cert.NotBefore):
		return Early
	case now.After(cert.NotAfter):
		return HasExpired
	case cert.NotAfter.Sub(now) < soon:
		return Expiring
	}
	return Valid
}

// ending warns of a certificate's dates.
func ending(cert *x509.Certificate, now time.Time, soon time.Duration) (Warning, bool) {
	if e := dated(cert, now); e != nil {
		code := WarnExpired
		if e.Break == NotYetValid {
			code = WarnEarly
		}
		return Warning{code, e.Text}, true
	}
	if left := cert.NotAfter.Sub(now); left < soon {
		return Warning{WarnExpiring, fmt.Sprintf("certificate %q expires in %d days, at %s", subject(cert), int(left/(24*time.Hour)), stamp(cert.NotAfter))}, true
	}
	return Warning{}, false
}

// colons is the SHA-256 fingerprint as browsers and openssl show it.
func colons(der []byte) string {
	sum := sha256.Sum256(der)
	return hexColons(sum[:])
}

// thumbprint is the SHA-1 as vCenter shows it. It identifies, it proves nothing.
func thumbprint(der []byte) string {
	sum := sha1.Sum(der)
	return hexColons(sum[:])
}

func hexColons(sum []byte) string {
	return strings.ReplaceAll(strings.ToUpper(fmt.Sprintf("% x", sum)), " ", ":")
}
