package array

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"vvsim/fault"
	"vvsim/pe"
	"vvsim/scsi/device"
	"vvsim/scsi/iscsi"
	"vvsim/scsi/iscsi/pdu"
	"vvsim/vasa"
	"vvsim/vasa/trust"
	"vvsim/vvol"
	"vvsim/vvol/store"
	"vvsim/vvol/store/badger"
	"vvsim/vvol/store/mem"
)

// Array is one running array. Open, Start, Wait and Close are called in this
// order by one goroutine; the rest is safe for concurrent use.
type Array struct {
	c       Config
	log     *zap.Logger
	version string
	began   time.Time
	esxi    atomic.Pointer[ESXiConfig]

	engine  store.Engine
	target  *pe.Target
	service *vvol.Service
	named   atomic.Pointer[vvol.Service] // service, for those that look while it opens
	faults  *fault.Injector
	iscsi   *iscsi.Server
	api     *http.Server
	iqn     string
	number  uint64 // of the array, in designators

	trust        *trust.Store
	provider     *vasa.Provider
	vasa         *http.Server
	vasaListener net.Listener
	listen       Listen
	vasaAddr     string

	group   *errgroup.Group
	cancel  context.CancelFunc
	ready   atomic.Pointer[ReadyInfo]
	portals []iscsi.PortalAddress
	once    sync.Once
	closed  error
}

// ReadyInfo is what the ready line and the env file tell.
type ReadyInfo struct {
	Took  time.Duration
	ISCSI []string // addresses of the portals, in order
	API   string   // URL
	IQN   string   // target name
	VASA  VASAInfo
}

// VASAInfo is what clients of the provider need.
type VASAInfo struct {
	URL      string // of version.xml
	User     string
	Password string
	CAFile   string // PEM; empty for an array in memory, see CA
	CA       []byte // PEM
}

// reservationsOf breaks the circle between the endpoints, which need a place for
// reservations, and the service, which needs the endpoints.
type reservationsOf struct{ service *vvol.Service }

func (r *reservationsOf) ReservationState(id vvol.ID) ([]byte, error) {
	return r.service.ReservationState(id)
}

func (r *reservationsOf) SaveReservationState(ctx context.Context, id vvol.ID, state []byte) error {
	return r.service.SaveReservationState(ctx, id, state)
}

// Open opens the engine and loads the catalog; no door is open yet. version is
// told by the API.
func Open(ctx context.Context, c Config, version string, log *zap.Logger) (_ *Array, err error) {
	a := &Array{c: c, log: log, version: version, began: time.Now(), listen: (&net.ListenConfig{}).Listen}
	a.esxi.Store(&c.ESXi)
	defer func() {
		if err != nil {
			err = errors.Join(err, a.closeStorage())
		}
	}()
	if a.engine, err = openEngine(ctx, c, log); err != nil {
		return nil, err
	}
	if err := a.openTrust(); err != nil { // the engine has the directory's lock
		return nil, err
	}
	id, err := vvol.ArrayID(ctx, a.engine.Meta())
	if err != nil {
		return nil, err
	}
	if a.number, err = arrayNumber(id); err != nil {
		return nil, err
	}
	if a.iqn = c.ISCSI.TargetName; a.iqn == "" {
		a.iqn = fmt.Sprintf("iqn.2026-11.dev.vvsim:array-%09x", a.number)
	}
	if err := a.openFaults(ctx); err != nil {
		return nil, err
	}
	kept := &reservationsOf{}
	if a.target, err = pe.New(a.targetOptions(kept)); err != nil {
		return nil, err
	}
	a.service, err = vvol.Open(ctx, vvol.Options{Engine: a.engine, Endpoints: a.target, ArrayID: id, DrainTimeout: 2*time.Duration(c.Drain) + time.Second})
	if err != nil {
		return nil, err
	}
	kept.service = a.service
	a.named.Store(a.service)
	if err := a.service.EnsureDefaults(ctx); err != nil {
		return nil, err
	}
	if err := a.service.Start(ctx); err != nil {
		return nil, err
	}
	if err := a.openProvider(); err != nil {
		return nil, err
	}
	if err := a.configuredFaults(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// arrayNumber is the part of the array's id that designators carry: 36 bits.
func arrayNumber(id string) (n uint64, err error) {
	b, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	if err != nil || len(b) != 16 {
		return 0, fmt.Errorf("array id %q is not a UUID", id)
	}
	for _, x := range b[:5] {
		n = n<<8 | uint64(x)
	}
	return n & (1<<36 - 1), nil
}

func openEngine(ctx context.Context, c Config, log *zap.Logger) (store.Engine, error) {
	if c.Data == InMemory {
		return mem.New(), nil
	}
	e, err := badger.Open(ctx, badger.Options{Dir: c.Data, Sync: c.Store.Durability == "sync", JournalBytes: int64(c.Store.JournalMiB) << 20,
		LeaveLogs: !c.Store.EndDeadLogs, Warn: func(message string) { log.Warn("engine", zap.String("message", message)) }})
	if err != nil {
		return nil, err // not e: a nil *Engine is no nil store.Engine
	}
	return e, nil
}

func (a *Array) targetOptions(r pe.Reservations) pe.Options {
	o := pe.Options{Engine: a.engine, ArrayID: a.number, TargetName: a.iqn, Portals: len(a.c.ISCSI.Portals), Reservations: r,
		Knobs: func() device.Knobs { return a.esxi.Load().knobs() }, DrainTimeout: time.Duration(a.c.Drain),
		Events: pe.Events{
			InternalFailure: func(v vvol.ID, err error) { a.log.Error("I/O failed", zap.Stringer("vvol", v), zap.Error(err)) },
			Panic: func(v vvol.ID, value any, stack []byte) {
				a.log.Error("panic in a command", zap.Stringer("vvol", v), zap.Any("panic", value), zap.ByteString("stack", stack))
			},
		}}
	for _, p := range a.c.PEs {
		o.Endpoints = append(o.Endpoints, pe.Endpoint{Name: p.Name, LUN: p.LUN})
	}
	return o
}

// Listen opens a door, as net.ListenConfig does.
type Listen func(ctx context.Context, network, address string) (net.Listener, error)

// ListenWith has all doors opened by l, such as those of a network in memory. It is called
// between Open and Start.
func (a *Array) ListenWith(l Listen) { a.listen = l }

// Start opens the portals and the API. When it returns nil the array is ready.
func (a *Array) Start(ctx context.Context) (err error) {
	ctx, a.cancel = context.WithCancel(ctx)
	a.group, ctx = errgroup.WithContext(ctx)
	listeners, err := a.listenISCSI(ctx)
	if err != nil {
		return err
	}
	closeAll := func() {
		for _, ln := range listeners {
			ln.Close()
		}
	}
	if err := a.listenVASA(ctx); err != nil {
		closeAll()
		return err
	}
	listeners = append(listeners, a.vasaListener)
	apiListener, err := a.listen(ctx, "tcp", a.c.API.Addr)
	if err != nil {
		closeAll()
		return fmt.Errorf("api.addr: %w", err)
	}
	if a.iscsi, err = iscsi.NewServer(a.serverOptions(a.breakPaths(listeners[:len(a.portals)]))); err != nil {
		closeAll()
		return errors.Join(err, apiListener.Close())
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(&collector{engine: a.engine.Metrics, volumes: a.target.Stats, sessions: a.iscsi.Sessions},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	handler, err := a.newAPI(registry)
	if err != nil {
		closeAll()
		return errors.Join(err, apiListener.Close())
	}
	a.api = &http.Server{Handler: handler, ReadHeaderTimeout: apiHeaderTimeout, IdleTimeout: apiIdleTimeout, MaxHeaderBytes: apiHeaderBytes,
		ErrorLog: zap.NewStdLog(a.log), BaseContext: func(net.Listener) context.Context { return ctx }}
	for i, ln := range listeners[:len(a.portals)] {
		a.group.Go(func() error { return ignore(a.iscsi.Serve(ctx, ln, uint16(i+1)), iscsi.ErrClosed) })
	}
	a.group.Go(func() error { return a.tend(ctx) })
	a.group.Go(func() error { return ignore(a.api.Serve(apiListener), http.ErrServerClosed) })
	a.group.Go(func() error { return ignore(a.vasa.Serve(a.vasaListener), http.ErrServerClosed) })
	info := ReadyInfo{Took: time.Since(a.began), API: "http://" + published(a.c.API.Addr, apiListener), IQN: a.iqn,
		VASA: VASAInfo{URL: a.vasaURL(), User: a.trust.User(), Password: a.trust.Password(), CAFile: a.trust.CAFile(), CA: a.trust.CAPEM()}}
	for _, p := range a.portals {
		info.ISCSI = append(info.ISCSI, p.Address)
	}
	a.ready.Store(&info)
	return nil
}

// tendInterval is how often alarms are looked for (vvol.Service.Tend).
const tendInterval = 10 * time.Second

// tend keeps the service's alarms up to date until ctx ends.
func (a *Array) tend(ctx context.Context) error {
	tick := time.NewTicker(tendInterval)
	defer tick.Stop()
	for {
		if err := a.service.Tend(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("looking for alarms", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Limits of the API's connections; those of a request are api's.
const (
	apiHeaderTimeout = 10 * time.Second
	apiIdleTimeout   = 2 * time.Minute
	apiHeaderBytes   = 64 << 10
)

func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

func (a *Array) listenISCSI(ctx context.Context) (all []net.Listener, err error) {
	for i, addr := range a.c.ISCSI.Portals {
		ln, err := a.listen(ctx, "tcp", addr)
		if err != nil {
			for _, open := range all {
				open.Close()
			}
			return nil, fmt.Errorf("iscsi.portals[%d]: %w", i, err)
		}
		all = append(all, ln)
		a.portals = append(a.portals, iscsi.PortalAddress{Address: published(addr, ln), Group: uint16(i + 1)})
	}
	return all, nil
}

// published is a listener's address with its real port. A listener for every IPv4
// address serves IPv6 too and calls itself [::]; users get the host that they gave.
func published(configured string, ln net.Listener) string {
	given, err := netip.ParseAddrPort(configured)
	_, port, portErr := net.SplitHostPort(ln.Addr().String())
	if err != nil || portErr != nil || !given.Addr().IsUnspecified() {
		return ln.Addr().String()
	}
	return net.JoinHostPort(given.Addr().String(), port)
}

func (a *Array) serverOptions(paths iscsi.Paths) iscsi.Options {
	c := &a.c.ISCSI
	return iscsi.Options{TargetName: a.iqn, TargetAlias: "vvsim", Target: a.brokenTarget(a.target), Access: access{*c}, Paths: paths,
		Portals:     func() []iscsi.PortalAddress { return a.portals },
		MaxSessions: c.MaxSessions, CommandWindow: c.CommandWindow, LoginTimeout: time.Duration(c.LoginTimeout),
		NOPInterval: time.Duration(c.NOPInterval), NOPTimeout: time.Duration(c.NOPTimeout), LogoutTimeout: time.Duration(a.c.Drain),
		UnavailableLogin: func() pdu.LoginStatus { return unavailables[a.esxi.Load().LoginUnavailable] },
		Events:           a.iscsiEvents()}
}

func (a *Array) iscsiEvents() iscsi.Events {
	session := func(s iscsi.SessionInfo) []zap.Field {
		return []zap.Field{zap.Uint64("session", s.ID), zap.String("initiator", s.Initiator), zap.String("remote", s.Remote),
			zap.Uint16("tpgt", s.Group), zap.Bool("discovery", s.Discovery)}
	}
	return iscsi.Events{
		SessionOpened: func(s iscsi.SessionInfo) {
			a.log.Info("session opened", session(s)...)
			if s.Discovery {
				return
			}
			if err := a.service.SawInitiator(context.Background(), s.Initiator); err != nil {
				a.log.Warn("host row", zap.String("initiator", s.Initiator), zap.Error(err))
			}
		},
		SessionClosed: func(s iscsi.SessionInfo, err error) {
			a.log.Info("session closed", append(session(s), zap.NamedError("reason", err))...)
		},
		LoginFailed: func(remote, initiator string, status pdu.LoginStatus, err error) {
			a.log.Warn("login failed", zap.String("remote", remote), zap.String("initiator", initiator),
				zap.String("status", fmt.Sprintf("%04x", uint16(status))), zap.Error(err))
		},
		Rejected: func(s iscsi.SessionInfo, op pdu.OpCode, reason pdu.RejectReason) {
			a.log.Warn("PDU rejected", append(session(s), zap.Stringer("pdu", op), zap.Uint8("reason", uint8(reason)))...)
		},
		Panic: func(s iscsi.SessionInfo, value any, stack []byte) {
			a.log.Error("panic in a command", append(session(s), zap.Any("panic", value), zap.ByteString("stack", stack))...)
		},
	}
}

// Ready tells the addresses; the zero value before Start.
func (a *Array) Ready() ReadyInfo {
	if r := a.ready.Load(); r != nil {
		return *r
	}
	return ReadyInfo{}
}

// Wait returns when a door has failed, with its error, or nil after Close.
func (a *Array) Wait() error { return a.group.Wait() }

// Close shuts down in order (doc.go) within the drain timeout where initiators
// are concerned, and waits for every goroutine. Idempotent.
func (a *Array) Close(ctx context.Context) error {
	a.once.Do(func() { a.closed = a.shutDown(ctx) })
	return a.closed
}

func (a *Array) shutDown(ctx context.Context) error {
	var errs []error
	a.ready.Store(nil)
	a.closeFaults() // what a rule holds would keep portals and provider from closing
	if a.iscsi != nil {
		errs = append(errs, a.iscsi.Shutdown(ctx))
	}
	if a.vasa != nil {
		errs = append(errs, a.vasa.Close())
	}
	if a.cancel != nil {
		a.cancel()
	}
	if a.api != nil {
		errs = append(errs, a.api.Close())
	}
	if a.group != nil {
		errs = append(errs, a.group.Wait())
	}
	return errors.Join(append(errs, a.closeStorage())...)
}

func (a *Array) closeStorage() error {
	var errs []error
	a.closeFaults()
	if a.target != nil {
		a.target.Close()
	}
	if a.provider != nil {
		errs = append(errs, a.provider.Close())
	}
	if a.service != nil {
		errs = append(errs, a.service.Close())
	}
	if a.engine != nil {
		errs = append(errs, a.engine.Close())
	}
	return errors.Join(errs...)
}
