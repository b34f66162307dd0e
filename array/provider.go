package array

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"vvsim/api"
	"vvsim/pe"
	"vvsim/vasa"
	"vvsim/vasa/door"
	"vvsim/vasa/trace"
	"vvsim/vasa/trust"
	"vvsim/vvol"
)

// providerDir holds the provider's keys, below the data directory.
const providerDir = "provider"

// Limits of the provider's connections; those of a request are vasa's.
const (
	vasaHeaderTimeout = 10 * time.Second // of a handshake, too
	vasaReadTimeout   = time.Minute      // a request of wire.MaxBody from a slow client
	vasaWriteTimeout  = 3 * time.Minute  // from the header on: the request, its work, and an answer to a slow client
	vasaIdleTimeout   = 5 * time.Minute
	vasaHeaderBytes   = 32 << 10
	maxVersionFile    = 64 << 10
	// Of connections, those go first on which nothing was asked for the longest time.
	vasaConnections        = 2048
	vasaConnectionsPerHost = 1024
)

// openTrust opens the provider's keys. Nothing of it needs the listener's port.
func (a *Array) openTrust() (err error) {
	c, dir := &a.c.VASA, ""
	if a.c.Data != InMemory {
		dir = filepath.Join(a.c.Data, providerDir)
	}
	a.trust, err = trust.Open(dir, trust.Options{Addresses: []string{c.Addr}, URL: c.PublicURL, User: c.User, Password: c.Password, Retain: c.RetainCertificate,
		SkipExpiredRoots: c.SkipExpiredRoots, StrictCRLDates: c.StrictCRLDates})
	if err != nil {
		return fmt.Errorf("vasa: %w", err)
	}
	return nil
}

// openProvider makes the provider over the opened parts.
func (a *Array) openProvider() error {
	c := &a.c.VASA
	version, err := c.versionXML()
	if err != nil {
		return err
	}
	a.provider, err = vasa.New(vasa.Options{Service: a.service, Trust: a.trust, VersionXML: version,
		Array:   vasa.Array{Name: "vvsim " + a.service.ArrayID(), Vendor: "vvsim", Model: "simulator", Firmware: a.version, UID: a.service.ArrayID()},
		Portals: a.vasaPortals, SecondaryID: a.secondaryID, Knobs: c.knobs, Statistics: a.statistics(), Health: a.readiness,
		Designator: a.designator,
		Limits:     vasa.Limits{SessionTimeout: time.Duration(c.SessionTimeout), PerSession: c.RequestsPerSession, Batch: c.BatchSize},
		Events: vasa.Events{Called: a.vasaCalled,
			Traced: a.vasaTraced,
			Panic: func(c vasa.Call, value any, stack []byte) {
				a.log.Error("panic in a VASA operation", append(vasaFields(c), zap.Any("panic", value), zap.ByteString("stack", stack))...)
			},
			Conflict: func(text string) { a.log.Error("hosts look alike", zap.String("conflict", text)) }}})
	if err != nil {
		return err
	}
	a.breakProvider(a.provider)
	return nil
}

// knobs are the answers to what vasa.md 13 leaves open.
func (c *VASAConfig) knobs() vasa.Knobs {
	return vasa.Knobs{VersionForm: vasa.VersionForm(c.VersionForm), Strict: c.Strict, MSBFirst: c.BitmapMSBFirst, EventsFromZero: c.EventsFromZero,
		UnsharedValid: c.UnsharedValid, EndpointsByID: c.EndpointsByID, Snapshots: vasa.SnapshotAccess(c.Snapshots), TasksRunFirst: c.TasksRunFirst, ClosedBootstrap: c.ClosedBootstrap, MaxVVolSizeMB: c.MaxVVolSizeMB}
}

// versionXML reads the template of version.xml, if one is configured.
func (c *VASAConfig) versionXML() ([]byte, error) {
	if c.VersionFile == "" {
		return nil, nil
	}
	f, err := os.Open(c.VersionFile)
	if err != nil {
		return nil, fmt.Errorf("%w: vasa.version_file: %w", ErrConfig, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxVersionFile+1))
	if err == nil && len(b) > maxVersionFile {
		err = fmt.Errorf("%s is larger than %d bytes", c.VersionFile, maxVersionFile)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: vasa.version_file: %w", ErrConfig, err)
	}
	return b, nil
}

func (a *Array) vasaPortals() (list []vasa.Portal) {
	for _, p := range a.portals {
		list = append(list, vasa.Portal{Address: p.Address, Group: p.Group, TargetName: a.iqn})
	}
	return list
}

// secondaryID is what follows the first level in the LUN of a subsidiary unit
// (vasa.md 5).
func (a *Array) secondaryID(secondary uint64) string {
	lun := a.wireLUN(0, secondary)
	return "0x" + hex.EncodeToString(lun[2:])
}

// designator is the name by which hosts know a volume's logical unit.
func (a *Array) designator(v vvol.VirtualVolume) string { return pe.VolumeNAA(a.number, v).String() }

func vasaFields(c vasa.Call) []zap.Field {
	return []zap.Field{zap.String("operation", c.Operation), zap.String("client", c.Client), zap.String("remote", c.Remote), zap.String("request", c.ID)}
}

// vasaCalled logs each request; what only looks, and went well, at level debug: every
// client polls each ten seconds.
func (a *Array) vasaCalled(c vasa.Call) {
	fields := append(vasaFields(c), zap.Duration("took", c.Took), zap.String("outcome", c.Outcome))
	switch {
	case c.Outcome != "ok":
		a.log.Info("VASA fault", append(fields, zap.String("detail", c.Detail))...)
	case strings.HasPrefix(c.Operation, "query"), strings.HasPrefix(c.Operation, "get"), strings.HasPrefix(c.Operation, "spaceStats"):
		a.log.Debug("VASA call", fields...)
	default:
		a.log.Info("VASA call", fields...)
	}
}

// vasaTraced keeps in the log what is new in the trace, which ends with the process.
func (a *Array) vasaTraced(e trace.Entry) {
	a.log.Info("VASA client unlike the reference", zap.String("kind", e.Kind), zap.String("operation", e.Operation), zap.String("client", e.Client),
		zap.Bool("stranger", e.Stranger), zap.String("request", e.Request), zap.String("text", e.Text))
}

// listenVASA opens the provider's door.
func (a *Array) listenVASA(ctx context.Context) error {
	ln, err := a.listen(ctx, "tcp", a.c.VASA.Addr)
	if err != nil {
		return fmt.Errorf("vasa.addr: %w", err)
	}
	a.vasaAddr = published(a.c.VASA.Addr, ln)
	if reachable(a.vasaAddr) != a.vasaAddr && a.c.VASA.PublicURL == "" {
		a.log.Warn("vasa.addr is of all addresses, and nobody can use the URL that is told: set vasa.public_url", zap.String("url", a.vasaURL()))
	}
	limited := door.Limit(ln, vasaConnections, vasaConnectionsPerHost)
	a.vasaListener = tls.NewListener(limited, a.breakHandshakes(a.trust.ServerConfig()))
	a.vasa = &http.Server{Handler: a.provider.Handler(), ReadHeaderTimeout: vasaHeaderTimeout, ReadTimeout: vasaReadTimeout, WriteTimeout: vasaWriteTimeout,
		IdleTimeout: vasaIdleTimeout, ConnState: limited.State,
		MaxHeaderBytes: vasaHeaderBytes, ErrorLog: zap.NewStdLog(a.log), BaseContext: func(net.Listener) context.Context { return ctx }}
	a.reconnectClients(a.vasa)
	return nil
}

// vasaURL is what vCenter is told.
func (a *Array) vasaURL() string {
	if a.c.VASA.PublicURL != "" {
		return a.c.VASA.PublicURL
	}
	return "https://" + a.vasaAddr + vasa.VersionPath
}

// probeProvider goes through the provider's own door, and asks one query behind it: a
// provider that hangs while the process lives is found (contract.md 4).
func (a *Array) probeProvider(ctx context.Context) error {
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}} // whether it answers, not who
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+reachable(a.vasaAddr)+vasa.VersionPath, nil)
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New("version.xml: " + resp.Status)
	}
	return a.provider.Probe(ctx)
}

// reachable turns the address of a listener on all addresses into one to dial.
func reachable(addr string) string {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil || !ap.Addr().IsUnspecified() {
		return addr
	}
	return net.JoinHostPort("localhost", fmt.Sprint(ap.Port()))
}

// validateVASA checks the keys under vasa:, and reads the password's file.
func (c *Config) validateVASA() error {
	v := &c.VASA
	if v.PasswordFile != "" {
		if v.Password != "" {
			return errors.New("vasa: password and password_file exclude each other")
		}
		s, err := readSecret(v.PasswordFile)
		if err != nil {
			return fmt.Errorf("vasa.password_file: %w", err)
		}
		v.Password, v.PasswordFile = s, ""
	}
	if v.VersionForm != string(vasa.FormAttribute) && v.VersionForm != string(vasa.FormElement) {
		return fmt.Errorf("vasa.version_form: %q is neither A nor B", v.VersionForm)
	}
	if s := vasa.SnapshotAccess(v.Snapshots); s != vasa.SnapshotsAsAsked && s != vasa.SnapshotsReadOnly && s != vasa.SnapshotsWritable {
		return fmt.Errorf("vasa.snapshots: %q is none of as-asked, read-only, writable", v.Snapshots)
	}
	if v.PublicURL != "" {
		if u, err := url.Parse(v.PublicURL); err != nil || u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("vasa.public_url: %q is no https URL", v.PublicURL)
		}
	}
	if t := time.Duration(v.SessionTimeout); t < time.Second || t > vasa.DefaultMaxTimeout {
		return fmt.Errorf("vasa.session_timeout: %v is not in %v-%v", t, time.Second, vasa.DefaultMaxTimeout)
	}
	for _, x := range []struct {
		key   string
		value int
	}{{"vasa.requests_per_session", v.RequestsPerSession}, {"vasa.batch_size", v.BatchSize}} {
		if x.value < 1 || x.value > maxVASA {
			return fmt.Errorf("%s: %d is not in 1-%d", x.key, x.value, maxVASA)
		}
	}
	if v.MaxVVolSizeMB < 1 || v.MaxVVolSizeMB > vasa.DefaultMaxVVolSizeMB {
		return fmt.Errorf("vasa.max_vvol_size_mb: %d is not in 1-%d", v.MaxVVolSizeMB, vasa.DefaultMaxVVolSizeMB)
	}
	return nil
}

// maxVASA bounds requests of a session and items of a batch.
const maxVASA = 1024

func defaultVASA() VASAConfig {
	return VASAConfig{Addr: "127.0.0.1:8443", User: trust.DefaultUser, RetainCertificate: true, SessionTimeout: Duration(vasa.DefaultSessionTimeout),
		RequestsPerSession: vasa.DefaultPerSession, BatchSize: vasa.DefaultBatch, VersionForm: string(vasa.FormAttribute), Snapshots: string(vasa.SnapshotsAsAsked), MaxVVolSizeMB: vasa.DefaultMaxVVolSizeMB}
}

// providerSource shows the provider to the API.
type providerSource struct{ a *Array }

func (s providerSource) Show() api.Provider {
	p := api.Provider{URL: s.a.vasaURL(), UID: s.a.service.ArrayID(), User: s.a.trust.User(), Sessions: []api.ProviderSession{}}
	for _, x := range s.a.provider.Sessions() {
		p.Sessions = append(p.Sessions, api.ProviderSession{Client: x.Client.Key(), Remote: x.Remote, OpenedAt: x.Opened, TimeoutSeconds: int(x.Timeout.Seconds()),
			Initiators: x.Client.Initiators()})
	}
	return p
}

func (s providerSource) Trace() []api.TraceEntry {
	list := []api.TraceEntry{}
	for _, e := range s.a.provider.Trace() {
		list = append(list, api.TraceEntry(e))
	}
	return list
}

func (s providerSource) Certificates() trust.Report  { return s.a.trust.Report() }
func (s providerSource) RequestCSR() (string, error) { return s.a.trust.SigningRequest() }
func (s providerSource) Renew() error                { return s.a.trust.Renew() }
func (s providerSource) Import(certificates, key string) error {
	return s.a.trust.Import(certificates, key)
}
