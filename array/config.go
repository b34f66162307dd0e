package array

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"vvsim/scsi/iscsi"
	"vvsim/scsi/iscsi/negotiate"
)

// ErrConfig marks every fault of the configuration; its text says what and where.
var ErrConfig = errors.New("configuration")

// Config of an array. Keys in YAML are the tags; a key's environment variable is
// its path in capitals behind VVSIM_ ("store.durability" is
// VVSIM_STORE_DURABILITY), with the short names of the flags besides (VVSIM_DATA,
// VVSIM_ISCSI, VVSIM_API, VVSIM_VASA, VVSIM_TOKEN).
type Config struct {
	Data    string      `yaml:"data"`     // directory, or ":memory:"
	EnvFile string      `yaml:"env_file"` // written when ready; none when empty
	ISCSI   ISCSIConfig `yaml:"iscsi"`
	VASA    VASAConfig  `yaml:"vasa"`
	API     APIConfig   `yaml:"api"`
	Log     LogConfig   `yaml:"log"`
	Store   StoreConfig `yaml:"store"`
	PEs     []PEConfig  `yaml:"protocol_endpoints"`
	ESXi    ESXiConfig  `yaml:"esxi"`
	Drain   Duration    `yaml:"drain_timeout"` // for running I/O at unbind and at shutdown
	Faults  []string    `yaml:"faults"`        // rules in force from the start (docs/faults.md)
}

// ISCSIConfig of all portals (contract.md 6).
type ISCSIConfig struct {
	Portals        []string    `yaml:"portals"`
	TargetName     string      `yaml:"target_name"` // default: made from the array's id
	AllowAnonymous bool        `yaml:"allow_anonymous"`
	Initiators     []Initiator `yaml:"initiators"`
	CHAP           *CHAP       `yaml:"chap"`
	DiscoveryCHAP  *CHAP       `yaml:"discovery_chap"`
	NOPInterval    Duration    `yaml:"nop_interval"`
	NOPTimeout     Duration    `yaml:"nop_timeout"`
	LoginTimeout   Duration    `yaml:"login_timeout"`
	MaxSessions    int         `yaml:"max_sessions"`
	CommandWindow  int         `yaml:"command_window"`
}

// Initiator that may log in.
type Initiator struct {
	IQN    string `yaml:"iqn"`
	CHAP   *CHAP  `yaml:"chap"`
	Mutual *CHAP  `yaml:"mutual"`
}

// CHAP credentials of one direction.
type CHAP struct {
	User       string `yaml:"user"`
	Secret     string `yaml:"secret"`
	SecretFile string `yaml:"secret_file"`
}

// VASAConfig of the provider.
type VASAConfig struct {
	Addr      string `yaml:"addr"`
	PublicURL string `yaml:"public_url"` // as vCenter is told it; default: of the address

	User              string   `yaml:"user"`
	Password          string   `yaml:"password"` // default: random, in the data directory
	PasswordFile      string   `yaml:"password_file"`
	RetainCertificate bool     `yaml:"retain_certificate"` // false: vCenter replaces the certificate
	SessionTimeout    Duration `yaml:"session_timeout"`

	RequestsPerSession int `yaml:"requests_per_session"` // at a time; announced
	BatchSize          int `yaml:"batch_size"`           // items of a call; announced

	// Answers to what is not known of real clients (vasa.md 13).
	VersionForm      string `yaml:"version_form"` // of version.xml: A or B
	VersionFile      string `yaml:"version_file"` // served instead of it
	Strict           bool   `yaml:"strict"`
	BitmapMSBFirst   bool   `yaml:"bitmap_msb_first"`
	EventsFromZero   bool   `yaml:"events_from_zero"`
	UnsharedValid    bool   `yaml:"unshared_valid"`
	EndpointsByID    bool   `yaml:"endpoints_by_id"`
	Snapshots        string `yaml:"snapshots"` // as-asked, read-only or writable
	TasksRunFirst    bool   `yaml:"tasks_run_first"`
	ClosedBootstrap  bool   `yaml:"closed_bootstrap"`
	SkipExpiredRoots bool   `yaml:"skip_expired_roots"`
	StrictCRLDates   bool   `yaml:"strict_crl_dates"`
	MaxVVolSizeMB    int64  `yaml:"max_vvol_size_mb"`
}

// APIConfig of the control API.
type APIConfig struct {
	Addr  string `yaml:"addr"`
	Token string `yaml:"token"`
}

// LogConfig of the log on standard error.
type LogConfig struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"` // console, json, or auto: console on a terminal
}

// StoreConfig of the engine.
type StoreConfig struct {
	Durability  string `yaml:"durability"` // flush or sync (design.md 9)
	JournalMiB  int    `yaml:"journal_mib"`
	EndDeadLogs bool   `yaml:"end_dead_logs"` // have Badger delete dead value logs without reading them
}

// PEConfig of one protocol endpoint.
type PEConfig struct {
	Name string `yaml:"name"`
	LUN  uint16 `yaml:"lun"`
}

// Duration is a time.Duration written as "30s".
type Duration time.Duration

// UnmarshalYAML reads what time.ParseDuration reads.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	v, err := time.ParseDuration(n.Value)
	if err != nil || n.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: %q is no duration such as 30s or 1m30s", n.Line, n.Value)
	}
	*d = Duration(v)
	return nil
}

// MarshalText is time.Duration's text.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// InMemory is the Data value that keeps nothing.
const InMemory = ":memory:"

// Bounds of CHAP secrets in bytes (contract.md 6; RFC 7143 12.1.3 for the lower one).
const (
	minSecret = 12
	maxSecret = 255
)

// DefaultConfig is what `vvsim serve` without arguments runs with.
func DefaultConfig() Config {
	return Config{
		Data: "vvsim-data",
		ISCSI: ISCSIConfig{Portals: []string{"127.0.0.1:3260"}, NOPInterval: Duration(iscsi.DefaultNOPInterval),
			NOPTimeout: Duration(iscsi.DefaultNOPTimeout), LoginTimeout: Duration(iscsi.DefaultLoginTimeout),
			MaxSessions: iscsi.DefaultMaxSessions, CommandWindow: iscsi.DefaultCommandWindow},
		VASA:  defaultVASA(),
		API:   APIConfig{Addr: "127.0.0.1:8474"},
		Log:   LogConfig{Level: "info", Format: "auto"},
		Store: StoreConfig{Durability: "flush", JournalMiB: 256, EndDeadLogs: true},
		PEs:   []PEConfig{{Name: "pe0", LUN: 256}},
		ESXi:  defaultESXi(),
		Drain: Duration(10 * time.Second),
	}
}

// Validate tells the first fault, and reads secret files into the secrets.
func (c *Config) Validate() error {
	for _, check := range []func() error{c.validateBasics, c.validateRanges, c.validateEndpoints, c.validateVASA, c.validateAccess, c.validateExposure, c.validateFaults} {
		if err := check(); err != nil {
			return fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	return nil
}

func (c *Config) validateBasics() error {
	switch {
	case c.Data == "":
		return errors.New("data: a directory or :memory: is needed")
	case c.API.Addr == "":
		return errors.New("api.addr: an address is needed")
	case c.Store.Durability != "flush" && c.Store.Durability != "sync":
		return fmt.Errorf("store.durability: %q is neither flush nor sync", c.Store.Durability)
	case !slices.Contains(logLevels, c.Log.Level):
		return fmt.Errorf("log.level: %q is none of %s", c.Log.Level, strings.Join(logLevels, ", "))
	case !slices.Contains(logFormats, c.Log.Format):
		return fmt.Errorf("log.format: %q is none of %s", c.Log.Format, strings.Join(logFormats, ", "))
	}
	if n := c.ISCSI.TargetName; n != "" {
		if err := negotiate.CheckName(n); err != nil {
			return fmt.Errorf("iscsi.target_name: %w", err)
		}
	}
	for i, p := range c.ISCSI.Portals {
		if err := validateAddress(p); err != nil {
			return fmt.Errorf("iscsi.portals[%d]: %w", i, err)
		}
	}
	if err := validateAddress(c.API.Addr); err != nil {
		return fmt.Errorf("api.addr: %w", err)
	}
	if err := validateAddress(c.VASA.Addr); err != nil {
		return fmt.Errorf("vasa.addr: %w", err)
	}
	return nil
}

// Values of log.level and log.format.
var (
	logLevels  = []string{"debug", "info", "warn", "error"}
	logFormats = []string{"console", "json", "auto"}
)

// Bounds of the configuration.
const (
	minJournalMiB, maxJournalMiB       = 16, 4096
	minSessions, maxSessions           = 1, 65535 // TSIH has 16 bits
	minCommandWindow, maxCommandWindow = 16, 4096
	minWait, maxWait                   = 100 * time.Millisecond, time.Hour
	maxPortals                         = 64
	maxEndpoints                       = 64
	maxInitiators                      = 4096
)

func (c *Config) validateRanges() error {
	for _, x := range []struct {
		key             string
		value, min, max int
	}{
		{"store.journal_mib", c.Store.JournalMiB, minJournalMiB, maxJournalMiB},
		{"iscsi.max_sessions", c.ISCSI.MaxSessions, minSessions, maxSessions},
		{"iscsi.command_window", c.ISCSI.CommandWindow, minCommandWindow, maxCommandWindow},
		{"number of iscsi.portals", len(c.ISCSI.Portals), 1, maxPortals},
		{"number of iscsi.initiators", len(c.ISCSI.Initiators), 0, maxInitiators},
		{"number of protocol_endpoints", len(c.PEs), 1, maxEndpoints},
	} {
		if x.value < x.min || x.value > x.max {
			return fmt.Errorf("%s: %d is not in %d-%d", x.key, x.value, x.min, x.max)
		}
	}
	for _, x := range []struct {
		key   string
		value Duration
	}{
		{"iscsi.nop_interval", c.ISCSI.NOPInterval}, {"iscsi.nop_timeout", c.ISCSI.NOPTimeout},
		{"iscsi.login_timeout", c.ISCSI.LoginTimeout}, {"drain_timeout", c.Drain},
	} {
		if v := time.Duration(x.value); v < minWait || v > maxWait {
			return fmt.Errorf("%s: %v is not in %v-%v", x.key, v, minWait, maxWait)
		}
	}
	return nil
}

func validateAddress(a string) error {
	host, port, err := net.SplitHostPort(a)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT", a)
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return fmt.Errorf("%q has no valid port", a)
	}
	if host == "" {
		return nil
	}
	if _, err := netip.ParseAddr(host); err == nil || host == "localhost" {
		return nil
	}
	if strings.ContainsAny(host, " /") {
		return fmt.Errorf("%q has no valid host", a)
	}
	return nil
}

func (c *Config) validateEndpoints() error {
	names, luns := map[string]bool{}, map[uint16]bool{}
	for i, p := range c.PEs {
		switch {
		case p.Name == "" || names[p.Name]:
			return fmt.Errorf("protocol_endpoints[%d].name: %q is empty or taken", i, p.Name)
		case p.LUN == 0 || p.LUN > 16383 || luns[p.LUN]:
			return fmt.Errorf("protocol_endpoints[%d].lun: %d is not in 1-16383 or taken", i, p.LUN)
		}
		names[p.Name], luns[p.LUN] = true, true
	}
	return c.ESXi.validate()
}

func (c *Config) validateAccess() error {
	for at, h := range map[string]*CHAP{"iscsi.chap": c.ISCSI.CHAP, "iscsi.discovery_chap": c.ISCSI.DiscoveryCHAP} {
		if err := h.load(); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
	}
	seen := map[string]bool{}
	for i := range c.ISCSI.Initiators {
		in := &c.ISCSI.Initiators[i]
		at := fmt.Sprintf("iscsi.initiators[%d]", i)
		if err := negotiate.CheckName(in.IQN); err != nil {
			return fmt.Errorf("%s.iqn: %w", at, err)
		}
		if seen[in.IQN] {
			return fmt.Errorf("%s.iqn: %q stands twice", at, in.IQN)
		}
		seen[in.IQN] = true
		if err := c.validateSecrets(in); err != nil {
			return fmt.Errorf("%s.%w", at, err)
		}
	}
	return nil
}

// validateSecrets checks the secrets that apply to one initiator. Those of the two
// directions differ (contract.md 6, RFC 7143 9.2.1).
func (c *Config) validateSecrets(in *Initiator) error {
	if err := in.CHAP.load(); err != nil {
		return fmt.Errorf("chap: %w", err)
	}
	if err := in.Mutual.load(); err != nil {
		return fmt.Errorf("mutual: %w", err)
	}
	chap := in.CHAP
	if chap == nil {
		chap = c.ISCSI.CHAP
	}
	switch {
	case in.Mutual != nil && chap == nil:
		return errors.New("mutual: mutual CHAP needs chap")
	case in.Mutual != nil && in.Mutual.Secret == chap.Secret:
		return errors.New("mutual: the two directions need different secrets")
	}
	return nil
}

// load reads the secret file, if any, and checks user and secret; no CHAP is fine.
func (h *CHAP) load() error {
	if h == nil {
		return nil
	}
	if h.SecretFile != "" {
		if h.Secret != "" {
			return errors.New("secret and secret_file exclude each other")
		}
		s, err := readSecret(h.SecretFile)
		if err != nil {
			return fmt.Errorf("secret_file: %w", err)
		}
		h.Secret, h.SecretFile = s, ""
	}
	switch n := len(h.Secret); {
	case h.User == "":
		return errors.New("user is missing")
	case n < minSecret || n > maxSecret:
		return fmt.Errorf("the secret has %d bytes; %d to %d are allowed", n, minSecret, maxSecret)
	}
	return nil
}

// readSecret reads a file that holds a secret, with or without an end of line.
func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+3)) // one byte too many, and CR LF
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), err
}

// validateExposure refuses doors that are open to the network without a lock
// (contract.md 2).
func (c *Config) validateExposure() error {
	if !loopback(c.API.Addr) && c.API.Token == "" {
		return fmt.Errorf("api.addr: %s is not a loopback address; set api.token (VVSIM_TOKEN) to open the API to the network", c.API.Addr)
	}
	if c.ISCSI.AllowAnonymous || c.everyLoginNeedsCHAP() {
		return nil
	}
	for _, p := range c.ISCSI.Portals {
		if !loopback(p) {
			return fmt.Errorf("iscsi.portals: %s is not a loopback address; set iscsi.chap, or iscsi.allow_anonymous: true, to open it to the network", p)
		}
	}
	return nil
}

func (c *Config) everyLoginNeedsCHAP() bool {
	if c.ISCSI.CHAP != nil {
		return true
	}
	for _, in := range c.ISCSI.Initiators {
		if in.CHAP == nil {
			return false
		}
	}
	return len(c.ISCSI.Initiators) > 0
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
