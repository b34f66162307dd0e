package vcenter

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/vmware/govmomi/vim25/soap"
)

// Errors of callers; all that SMS refuses is a *FaultError.
var (
	// ErrInvalid is an argument or a variable that cannot be used.
	ErrInvalid = errors.New("invalid")
	// ErrNotFound is a provider that vCenter does not know.
	ErrNotFound = errors.New("not found")
)

// Target is a vCenter and how to log in.
type Target struct {
	URL        *url.URL // of the API, without user
	User       string
	Password   string
	Insecure   bool   // vCenter's certificate is not verified
	CAs        string // PEM files that verify it, separated as in PATH; empty: those of the system
	KnownHosts string // files of "host thumbprint" lines, as govc keeps them
}

// maxSecretFile bounds a file that holds a secret, in bytes.
const maxSecretFile = 4096

// FromEnvironment reads GOVC_URL, GOVC_USERNAME, GOVC_PASSWORD, GOVC_INSECURE,
// GOVC_TLS_CA_CERTS and GOVC_TLS_KNOWN_HOSTS as govc does: the URL may be a bare host name
// and may hold user and password, over which the variables go; user name and password may
// be the name of a file that holds them. Errors are ErrInvalid and hold no secret.
func FromEnvironment(getenv func(string) string) (Target, error) {
	t := Target{CAs: getenv("GOVC_TLS_CA_CERTS"), KnownHosts: getenv("GOVC_TLS_KNOWN_HOSTS")}
	raw := getenv("GOVC_URL")
	if raw == "" {
		return t, fmt.Errorf("%w: GOVC_URL is not set: the address of a vCenter", ErrInvalid)
	}
	u, err := soap.ParseURL(raw)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		// The text of the variable may hold a password.
		return t, fmt.Errorf("%w: GOVC_URL is no address of a vCenter, such as vcenter.example or https://vcenter.example/sdk", ErrInvalid)
	}
	t.User = u.User.Username()
	t.Password, _ = u.User.Password()
	u.User = nil
	t.URL = u
	for name, into := range map[string]*string{"GOVC_USERNAME": &t.User, "GOVC_PASSWORD": &t.Password} {
		value, err := secret(getenv(name))
		if err != nil {
			return t, fmt.Errorf("%w: %s: %w", ErrInvalid, name, err)
		}
		if value != "" {
			*into = value
		}
	}
	switch v := strings.ToLower(getenv("GOVC_INSECURE")); v {
	case "1", "true":
		t.Insecure = true
	case "", "0", "false":
	default:
		return t, fmt.Errorf("%w: GOVC_INSECURE: %q is neither 1 nor 0, true nor false", ErrInvalid, v)
	}
	if t.User == "" {
		return t, fmt.Errorf("%w: GOVC_USERNAME is not set", ErrInvalid)
	}
	return t, nil
}

// secret is the content of the file that value names, or value if there is none.
func secret(value string) (string, error) {
	if info, err := os.Stat(value); value != "" && err == nil && info.Mode().IsRegular() {
		return ReadSecret(value)
	}
	return value, nil
}

// ReadSecret reads a secret from a file; white space around it does not count.
func ReadSecret(path string) (string, error) {
	b, err := readLimited(path, maxSecretFile)
	return strings.TrimSpace(string(b)), err
}

// readLimited reads a file that is small.
func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return b, nil
}
