package trust

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Errors that need no details.
var (
	// ErrLogin is a wrong user or password (InvalidLogin).
	ErrLogin = errors.New("wrong user or password")
	// ErrNotRegistered is a certificate or owner that is not registered (InvalidCertificate).
	ErrNotRegistered = errors.New("not registered")
	// ErrRetained is an attempt to replace a certificate that the provider keeps (PermissionDenied).
	ErrRetained = errors.New("the provider keeps its own certificate")
)

// LockedError is a user that had too many bad passwords (StorageFault).
type LockedError struct {
	User  string
	Until time.Time
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("user %q is locked until %s after too many wrong passwords", e.User, stamp(e.Until))
}

// InvalidError are certificates and CRLs that cannot be taken, as they were given
// (InvalidCertificate echoes them). Nothing was changed.
type InvalidError struct {
	Certificates []string
	CRLs         []string
	Reasons      []string // one for each of both
}

func (e *InvalidError) Error() string {
	return "invalid certificate: " + strings.Join(e.Reasons, "; ")
}

func (e *InvalidError) certificate(text, reason string) {
	e.Certificates = append(e.Certificates, text)
	e.Reasons = append(e.Reasons, reason)
}

func (e *InvalidError) crl(text, reason string) {
	e.CRLs = append(e.CRLs, text)
	e.Reasons = append(e.Reasons, reason)
}

// err is e if anything is in it.
func (e *InvalidError) err() error {
	if len(e.Reasons) == 0 {
		return nil
	}
	return e
}

func invalidCertificate(text, format string, args ...any) error {
	return &InvalidError{Certificates: []string{text}, Reasons: []string{fmt.Sprintf(format, args...)}}
}

// LimitError is a named limit that a change would exceed. Nothing was changed.
type LimitError struct {
	What  string
	Limit int
}

func (e *LimitError) Error() string { return fmt.Sprintf("more than %d %s", e.Limit, e.What) }

// DamagedError is a file of the store that cannot be used. It was not touched.
type DamagedError struct {
	Path, Reason, Remedy string
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s cannot be used: %s; %s", e.Path, e.Reason, e.Remedy)
}

// Break is the kind of fault in a chain of certificates.
type Break string

// Kinds of faults.
const (
	NoCertificate Break = "no certificate"
	UnknownIssuer Break = "unknown issuer"
	WrongKey      Break = "wrong issuer key"
	NotCA         Break = "issuer is no CA"
	Expired       Break = "expired"
	NotYetValid   Break = "not yet valid"
	Revoked       Break = "revoked"
	WrongName     Break = "wrong name"
	Unusable      Break = "unusable" // anything else that X.509 or TLS forbids
)

// UntrustedError is the first broken link of a chain.
type UntrustedError struct {
	Break   Break
	Subject string        // of the certificate at fault; empty if there is none
	Skew    time.Duration // NotYetValid: how far this clock is behind, at least
	Text    string        // the sentence for people
}

func (e *UntrustedError) Error() string { return e.Text }

func untrusted(kind Break, subject, format string, args ...any) *UntrustedError {
	return &UntrustedError{Break: kind, Subject: subject, Text: fmt.Sprintf(format, args...)}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
