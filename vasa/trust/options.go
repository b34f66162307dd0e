package trust

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// Options of a Store. Zero values take the defaults named below.
type Options struct {
	// Addresses are the listen addresses, as host, host:port or IP address. A wildcard
	// (":8443", "0.0.0.0") stands for every address of the machine.
	Addresses []string
	// URL is the provider's address as vCenter is told it; its host is the common name
	// of the provider's certificates. May be empty.
	URL string
	// HostName of the machine; the operating system's when empty.
	HostName string

	User     string // of registrations
	Password string // overrides the file, and is not written to it

	// Retain is VasaProviderInfo.retainVasaProviderCertificate: the provider keeps its
	// certificate, and several vCenters may be registered.
	Retain bool
	// CSRKey is the kind of key that RequestCSR makes.
	CSRKey KeyKind

	MaxBadPasswords int           // in a row, then the user is locked; negative: never
	LockTime        time.Duration // how long, and how long bad passwords are remembered
	ExpiryWarning   time.Duration // how long before its end a certificate is worth a warning

	SkipExpiredRoots bool // roots outside their dates are left out, not refused, if others remain
	StrictCRLDates   bool // CRLs outside their dates are refused

	Clock      func() time.Time           // time.Now
	Interfaces func() ([]net.Addr, error) // net.InterfaceAddrs
}

// KeyKind is a kind of private key.
type KeyKind int

// Kinds of keys.
const (
	RSA3072 KeyKind = iota
	ECDSAP256
)

// Defaults.
const (
	DefaultUser            = "vasa"
	DefaultMaxBadPasswords = 5
	DefaultLockTime        = 5 * time.Minute
	DefaultExpiryWarning   = 30 * 24 * time.Hour
)

// Limits.
const (
	MaxRegistrations = 32       // owners of roots at one time
	MaxRoots         = 64       // of one registration
	MaxCRLs          = 64       // of one registration
	MaxClients       = 1024     // certificates registered one by one
	MaxCertificate   = 64 << 10 // bytes of DER
	MaxCRL           = 4 << 20  // bytes of DER
	MaxCRLBytes      = 32 << 20 // bytes of DER, of all CRLs in the store
	MaxOwner         = 255      // bytes of an owner's name
	MaxCredential    = 255      // bytes of user and password, as in vCenter
	MaxNames         = 128      // in the provider's certificate
	MaxChain         = 10       // certificates that a peer presents
	MaxPending       = 8        // signing requests without an answer; the oldest is forgotten

	maxText        = 8 << 20   // characters of one certificate or CRL as given
	maxFile        = 128 << 20 // bytes of a file of the store
	maxTrusted     = 4096      // remembered verdicts
	maxRefused     = 1024
	maxLockedUsers = 1024 // names other than the provider's own

	// csrReuse: requestCSR needs no login (vasa.md 1.4), and making a key is the
	// dearest thing here. MaxPending times as long a vCenter has to sign a request
	// before strangers can make the provider forget its key.
	csrReuse   = 10 * time.Minute
	refusedFor = 10 * time.Second // a refusal is remembered; its reasons may pass with time

	validYears = 10
	renewCA    = 365 * 24 * time.Hour // a CA with less left is renewed with the certificate
	backdate   = 24 * time.Hour       // for clients whose clock is behind
)

func (o *Options) ensureDefaults() {
	if o.User == "" {
		o.User = DefaultUser
	}
	if o.MaxBadPasswords == 0 {
		o.MaxBadPasswords = DefaultMaxBadPasswords
	}
	if o.LockTime == 0 {
		o.LockTime = DefaultLockTime
	}
	if o.ExpiryWarning == 0 {
		o.ExpiryWarning = DefaultExpiryWarning
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Interfaces == nil {
		o.Interfaces = net.InterfaceAddrs
	}
	if o.HostName == "" {
		// Without a name of its own a machine is known by its addresses.
		o.HostName, _ = os.Hostname()
	}
}

func (o *Options) validate() error {
	if err := credential("user", o.User); err != nil {
		return err
	}
	if o.Password != "" {
		if err := credential("password", o.Password); err != nil {
			return err
		}
	}
	if o.CSRKey != RSA3072 && o.CSRKey != ECDSAP256 {
		return fmt.Errorf("unknown kind of key %d", o.CSRKey)
	}
	if o.LockTime < 0 || o.ExpiryWarning < 0 {
		return errors.New("lock time and expiry warning cannot be negative")
	}
	return nil
}
