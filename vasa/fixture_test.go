package vasa

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vvsim/test/schema"
	"vvsim/vasa/trust"
	"vvsim/vasa/vasatest"
	"vvsim/vasa/wire"
	"vvsim/vvol"
	"vvsim/vvol/store"
	"vvsim/vvol/store/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is a provider over a catalog on the memory engine, behind TLS, with a vCenter's
// authority that it trusts.
type lab struct {
	*Provider
	t       testing.TB
	engine  *gatedEngine
	service *vvol.Service
	trust   *trust.Store
	server  *httptest.Server
	vmca    *vasatest.Authority
	data    vvol.Endpoints
	change  func(*Options)
	schema  *schema.Validator

	mu        sync.Mutex
	knobs     Knobs
	clock     time.Duration // beside the real one
	calls     []Call
	conflicts []string
}

// newLab starts a lab; change edits the options before.
func newLab(t testing.TB, change func(*Options)) *lab { return newLabWith(t, newEndpoints(2), change) }

// newLabWith starts one over a data path.
func newLabWith(t testing.TB, e vvol.Endpoints, change func(*Options)) *lab {
	l := &lab{t: t, engine: &gatedEngine{Engine: mem.New()}, data: e, change: change, schema: schema.New(t)}
	var err error
	l.trust, err = trust.Open("", trust.Options{Addresses: []string{"127.0.0.1"}, Password: "secret-of-the-lab", Retain: true, Clock: l.now})
	require.NoError(t, err)
	l.serve("127.0.0.1:0")
	l.vmca, err = vasatest.NewAuthority("VMCA")
	require.NoError(t, err)
	t.Cleanup(func() {
		l.stop()
		require.NoError(t, l.engine.Close())
	})
	return l
}

// serve starts the catalog and the provider on an address.
func (l *lab) serve(address string) {
	t := l.t
	var err error
	l.service, err = vvol.Open(context.Background(), vvol.Options{Engine: l.engine, Endpoints: l.data, Clock: l.now})
	require.NoError(t, err)
	require.NoError(t, l.service.EnsureDefaults(context.Background()))
	require.NoError(t, l.service.Start(context.Background()))
	o := Options{Service: l.service, Trust: l.trust, Array: Array{Name: "lab", Vendor: "vvsim", Model: "simulator", Firmware: "1.0", UID: "0b5c2f0e-5a0e-4c35-9d7e-0d3a3a0a7a11"},
		Portals: func() []Portal {
			return []Portal{{"127.0.0.1:3260", 1, "iqn.2026-11.dev.vvsim:lab"}, {"127.0.0.1:3261", 2, "iqn.2026-11.dev.vvsim:lab"}}
		},
		SecondaryID: func(n uint64) string { return fmt.Sprintf("0xe2%010x", n) },
		Knobs:       func() Knobs { l.mu.Lock(); defer l.mu.Unlock(); return l.knobs }, Clock: l.now,
		Events: Events{
			Called:   func(c Call) { l.mu.Lock(); defer l.mu.Unlock(); l.calls = append(l.calls, c) },
			Panic:    func(c Call, value any, stack []byte) { t.Errorf("panic in %s: %v\n%s", c.Operation, value, stack) },
			Conflict: func(text string) { l.mu.Lock(); defer l.mu.Unlock(); l.conflicts = append(l.conflicts, text) },
		}}
	if l.change != nil {
		l.change(&o)
	}
	l.trust = o.Trust
	l.Provider, err = New(o)
	require.NoError(t, err)
	l.listen(address)
}

// listen serves the provider. httptest's StartTLS would answer with a certificate of its
// own to clients that name no server, as those that know an address alone.
func (l *lab) listen(address string) {
	listener, err := net.Listen("tcp", address)
	require.NoError(l.t, err)
	l.server = httptest.NewUnstartedServer(l.Handler())
	require.NoError(l.t, l.server.Listener.Close())
	l.server.Listener = tls.NewListener(listener, l.trust.ServerConfig())
	l.server.Start()
	l.server.URL = "https://" + listener.Addr().String()
}

// stop ends what serve began.
func (l *lab) stop() {
	l.server.Close()
	require.NoError(l.t, l.Close())
	require.NoError(l.t, l.service.Close())
}

func (l *lab) now() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Now().Add(l.clock)
}

// passes lets time go by.
func (l *lab) passes(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock += d
}

// set changes the knobs.
func (l *lab) set(k Knobs) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.knobs = k
}

// client makes a client with a certificate; nil presents none. All answers that it gets are
// validated against the schema, where that is at hand.
func (l *lab) client(cert *tls.Certificate, version wire.Version) *vasatest.Client {
	c, err := vasatest.New(vasatest.Options{URL: l.server.URL + ServicePath, Certificate: cert, Version: version, Seen: l.validate})
	require.NoError(l.t, err)
	l.t.Cleanup(c.Close)
	return c
}

// plain is an HTTP client without certificate.
func (l *lab) plain() *http.Client {
	t := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	l.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

// registered registers the lab's authority, once.
func (l *lab) registered() {
	_, err := vasatest.Do[wire.RegisterCACertificatesAndCRLsResponse](l.t.Context(), l.client(nil, wire.SOAP11),
		&wire.RegisterCACertificatesAndCRLs{ProviderUserName: "vasa", ProviderPassword: "secret-of-the-lab", CARootCert: []string{l.vmca.PEM()}})
	require.NoError(l.t, err)
}

// issued is a client with a certificate of the lab's authority and no session yet.
func (l *lab) issued(name string) *vasatest.Client {
	l.registered()
	cert, err := l.vmca.Issue(name, nil)
	require.NoError(l.t, err)
	return l.client(cert, wire.SOAP11)
}

// vcenter is a vCenter with a session.
func (l *lab) vcenter(guid string) *vasatest.Client {
	c := l.issued("vcenter " + guid)
	_, err := vasatest.Do[wire.SetContextResponse](l.t.Context(), c, &wire.SetContext{UsageContext: &wire.UsageContext{VCGUID: &guid}})
	require.NoError(l.t, err)
	return c
}

// host is a host with a session and one initiator, hostIQN of its name.
func (l *lab) host(name string) *vasatest.Client {
	c := l.issued("host " + name)
	_, err := vasatest.Do[wire.SetContextResponse](l.t.Context(), c, &wire.SetContext{UsageContext: usageOf(name)})
	require.NoError(l.t, err)
	return c
}

func usageOf(name string) *wire.UsageContext {
	return &wire.UsageContext{HostGUID: new(hostGUID(name)), HostInitiator: []wire.HostInitiatorInfo{{ISCSIIdentifier: new(hostIQN(name))}}}
}

func hostGUID(name string) string {
	return fmt.Sprintf("564de1a4-9a99-da0f-8b7c-%012x", []byte(name)[:min(6, len(name))])
}
func hostIQN(name string) string { return "iqn.1998-01.com.vmware:" + name + "-1a2b3c4d" }

// create makes a Data volume in the default container.
func (l *lab) create(name string, mb int64) vvol.VirtualVolume {
	v, err := l.service.Create(l.t.Context(), vvol.CreateSpec{Container: "default", Size: uint64(mb) * mib, Name: name})
	require.NoError(l.t, err)
	return v
}

// write fills one block of a volume.
func (l *lab) write(id vvol.ID, offset uint64, fill byte) {
	o, err := l.engine.Open(l.t.Context(), store.ID(id))
	require.NoError(l.t, err)
	p := make([]byte, 4096)
	for i := range p {
		p[i] = fill
	}
	err = o.WriteAt(l.t.Context(), p, offset, store.WriteOptions{})
	require.NoError(l.t, err)
	require.NoError(l.t, o.Close())
}

// fault requires a call to end with a fault of that name.
func (l *lab) fault(c *vasatest.Client, name string, request any) {
	l.t.Helper()
	_, err := c.Call(l.t.Context(), request)
	require.Equal(l.t, name, vasatest.Fault(err), "%T: %v", request, err)
}

// validate takes the answer of an exchange to the validator.
func (l *lab) validate(x vasatest.Exchange) { l.schema.Add(x.Operation, x.Response) }

// gatedEngine holds copies while its gate is there.
type gatedEngine struct {
	store.Engine
	gate atomic.Pointer[gate]
}

// gate tells of a copy that came to it, and lets it on when on is closed.
type gate struct{ at, on chan struct{} }

func (e *gatedEngine) Open(ctx context.Context, id store.ID) (store.Object, error) {
	o, err := e.Engine.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	return &gatedObject{o, e}, nil
}

type gatedObject struct {
	store.Object
	e *gatedEngine
}

func (o *gatedObject) CopyFrom(ctx context.Context, off uint64, src store.Object, srcOff, n uint64) error {
	if g := o.e.gate.Load(); g != nil {
		g.at <- struct{}{}
		<-g.on
	}
	return o.Object.CopyFrom(ctx, off, src.(*gatedObject).Object, srcOff, n)
}

// endpoints keep books instead of opening a data path.
type endpoints struct {
	pes []vvol.ProtocolEndpoint

	mu       sync.Mutex
	attached map[vvol.BindingID][]string // initiators
	mapped   map[uint16]vvol.ID
	quality  map[vvol.ID]vvol.Quality
}

func newEndpoints(n int) *endpoints {
	e := &endpoints{attached: map[vvol.BindingID][]string{}, mapped: map[uint16]vvol.ID{}, quality: map[vvol.ID]vvol.Quality{}}
	for i := range n {
		e.pes = append(e.pes, vvol.ProtocolEndpoint{ID: vvol.PEID(fmt.Sprintf("naa.%032x", i+1)), Name: fmt.Sprintf("pe%d", i), LUN: uint16(256 + i)})
	}
	return e
}

func (e *endpoints) Attach(_ context.Context, b vvol.Binding, v vvol.VirtualVolume, initiators []string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.attached[b.ID] = initiators
	e.quality[v.ID] = v.Quality
	return nil
}

func (e *endpoints) Detach(_ context.Context, b vvol.Binding) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.attached, b.ID)
	return nil
}

func (e *endpoints) Map(_ context.Context, m vvol.LUNMapping, _ vvol.VirtualVolume) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mapped[m.LUN] = m.VVol
	return nil
}

func (e *endpoints) Unmap(_ context.Context, m vvol.LUNMapping) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.mapped, m.LUN)
	return nil
}

func (e *endpoints) SetQuality(v vvol.VirtualVolume) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, attached := e.quality[v.ID]; attached {
		e.quality[v.ID] = v.Quality
	}
}

func (e *endpoints) Quality(id vvol.ID) (vvol.Quality, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	q, attached := e.quality[id]
	return q, attached
}

func (e *endpoints) Changed(vvol.VirtualVolume, bool, bool) {}

func (e *endpoints) Busy(n uint16) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, taken := e.mapped[n]
	return taken || int(n) >= 256 && int(n) < 256+len(e.pes)
}

func (e *endpoints) List() []vvol.ProtocolEndpoint { return e.pes }
