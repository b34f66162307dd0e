package array

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"

	"go.uber.org/zap"

	"vvsim/api"
	"vvsim/fault"
	"vvsim/pe"
	"vvsim/scsi"
	"vvsim/scsi/iscsi"
	"vvsim/scsi/iscsi/pdu"
	"vvsim/vasa"
	"vvsim/vasa/trust"
	"vvsim/vvol"
)

// This file is all that knows of package fault: without it, and the calls of what it
// defines, the array has no faults but its own.

// openFaults reads the rules that were kept. Rules of the configuration come later, when
// all is there that they may name.
func (a *Array) openFaults(ctx context.Context) (err error) {
	o := fault.Options{Named: vasa.Named, Name: a.volumeName, Container: a.containerOf, ContainerName: a.containerName,
		Portals: len(a.c.ISCSI.Portals), Endpoints: a.faultEndpoints()}
	if a.c.Data != InMemory {
		o.Meta = a.engine.Meta()
	}
	if a.faults, err = fault.Open(ctx, o); err != nil {
		return err
	}
	for _, err := range a.faults.Impossible() {
		a.log.Warn("a fault rule that was kept means nothing that the array has", zap.Error(err))
	}
	a.engine = a.faults.NewEngine(a.engine)
	return nil
}

// volumeName is the name of a volume, "" where there is none.
func (a *Array) volumeName(id vvol.ID) string {
	if s := a.named.Load(); s != nil {
		if v, err := s.VVol(id); err == nil {
			return v.Name
		}
	}
	return ""
}

// containerOf is the container that has a volume, zero where there is none.
func (a *Array) containerOf(id vvol.ID) (k vvol.ContainerID) {
	if s := a.named.Load(); s != nil {
		if v, err := s.VVol(id); err == nil {
			k = v.Container
		}
	}
	return k
}

// containerName is the name of a container, "" where there is none.
func (a *Array) containerName(id vvol.ContainerID) string {
	if s := a.named.Load(); s != nil {
		if k, err := s.Container(id.String()); err == nil {
			return k.Name
		}
	}
	return ""
}

// faultEndpoints are the protocol endpoints by name and id.
func (a *Array) faultEndpoints() (all []fault.Endpoint) {
	for _, p := range a.c.PEs {
		all = append(all, fault.Endpoint{Name: p.Name, ID: pe.EndpointNAA(a.number, p.LUN).String()})
	}
	return all
}

// configuredFaults adds the rules of the configuration behind those that were kept.
func (a *Array) configuredFaults(ctx context.Context) error {
	for i, text := range a.c.Faults {
		if _, err := a.faults.Add(ctx, text); err != nil {
			return fmt.Errorf("%w: faults[%d]: %w", ErrConfig, i, err)
		}
	}
	if n := len(a.faults.List()); n > 0 {
		a.log.Warn("fault rules are in force", zap.Int("rules", n))
	}
	return nil
}

// UseFaultClock has fault rules go by c instead of the machine's clock. It is called between Open and Start.
func (a *Array) UseFaultClock(c fault.Clock) { a.faults.UseClock(c) }

// closeFaults ends what rules hold.
func (a *Array) closeFaults() {
	if a.faults != nil {
		a.faults.Close()
	}
}

// brokenTarget is the target as initiators see it.
func (a *Array) brokenTarget(t *pe.Target) scsi.Target { return a.faults.NewTarget(t, t) }

// breakProvider puts the rules in front of the provider's operations.
func (a *Array) breakProvider(p *vasa.Provider) {
	p.Decorate(func(next vasa.Invoker) vasa.Invoker {
		return a.faults.NewProvider(next, fault.Failures{Silence: vasa.ErrSilence,
			HasSession: p.HasSession, EndSession: p.EndSession, LoseEvents: p.LoseEvents, Storm: p.Storm,
			Subjects: func(ctx context.Context, req any) (s fault.Subjects) {
				s.VVols, s.Containers, s.Initiators = p.Subjects(ctx, req)
				return s
			},
			Fault: func(op, name string) (error, bool) {
				f, err := vasa.FaultNamed(op, name)
				return f, err == nil && vasa.Declares(op, name)
			}})
	})
}

// errDown ends a TLS handshake.
var errDown = errors.New("a fault rule takes the provider down")

// breakHandshakes has rules close the provider's connections or spoil the certificate that
// they show.
func (a *Array) breakHandshakes(c *tls.Config) *tls.Config {
	next := c.GetCertificate
	c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		switch down, flaw := a.faults.Handshake(); {
		case down:
			_ = hello.Conn.Close() // without an alert: nobody is there
			return nil, errDown
		case flaw != "":
			return a.trust.Flawed(trust.Flaw(flaw))
		}
		return next(hello)
	}
	return c
}

// clients are the connections of the provider, which have to be made anew when rules want it:
// those that are idle at once, the others with the answer that is under way, which says so. Without
// that, a client would send its next request over a connection that ends.
type clients struct {
	mu    sync.Mutex
	conns map[net.Conn]*client // guarded by mu
}

type client struct{ idle, stale bool }

// state is for http.Server.ConnState.
func (c *clients) state(nc net.Conn, state http.ConnState) {
	c.mu.Lock()
	x := c.conns[nc]
	switch state {
	case http.StateNew:
		c.conns[nc] = &client{}
	case http.StateActive, http.StateIdle:
		x.idle = state == http.StateIdle
	default:
		delete(c.conns, nc)
	}
	leave := x != nil && x.idle && x.stale
	c.mu.Unlock()
	if leave {
		_ = nc.Close() // its client connects anew
	}
}

// reconnect is for fault.Injector.OnReconnect.
func (c *clients) reconnect() {
	c.mu.Lock()
	var idle []net.Conn
	for nc, x := range c.conns {
		if x.stale = true; x.idle {
			idle = append(idle, nc)
		}
	}
	c.mu.Unlock()
	for _, nc := range idle {
		_ = nc.Close()
	}
}

// stale tells whether a connection has to be made anew.
func (c *clients) stale(nc net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.conns[nc]
	return x != nil && x.stale
}

// connKey is for the connection of a request in its context.
type connKey struct{}

// handler has answers of next say that their connection ends, when it does.
func (c *clients) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nc, _ := r.Context().Value(connKey{}).(net.Conn)
		next.ServeHTTP(&answer{ResponseWriter: w, ends: func() bool { return c.stale(nc) }}, r)
	})
}

// answer is one that looks at its connection when its header goes.
type answer struct {
	http.ResponseWriter
	ends func() bool
	said bool
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(status int) {
	if a.said = true; a.ends() {
		a.Header().Set("Connection", "close")
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	if !a.said {
		a.WriteHeader(http.StatusOK)
	}
	return a.ResponseWriter.Write(p)
}

// reconnectClients has clients of the provider connect anew when rules want it.
func (a *Array) reconnectClients(s *http.Server) {
	c := &clients{conns: map[net.Conn]*client{}}
	a.faults.OnReconnect(c.reconnect)
	s.Handler = c.handler(s.Handler)
	s.ConnContext = func(ctx context.Context, nc net.Conn) context.Context { return context.WithValue(ctx, connKey{}, nc) }
	next := s.ConnState
	s.ConnState = func(nc net.Conn, state http.ConnState) {
		next(nc, state)
		c.state(nc, state)
	}
}

// brokenPaths has the rules break the connections of the portals.
type brokenPaths struct{ paths *fault.Paths }

func (b brokenPaths) Connected(c iscsi.Conn)    { b.paths.Connected(c) }
func (b brokenPaths) Established(c iscsi.Conn)  { b.paths.Established(c) }
func (b brokenPaths) Disconnected(c iscsi.Conn) { b.paths.Disconnected(c) }

func (b brokenPaths) Identified(c iscsi.Conn, initiator string) error {
	r, refused := b.paths.Identified(c, initiator)
	if !refused {
		return nil
	}
	return &iscsi.Refusal{Status: pdu.LoginStatus(r.Status), Reason: "a fault rule refuses it", TargetAddress: r.Address}
}

// breakPaths has the rules break portals, from the first on, and their connections.
func (a *Array) breakPaths(portals []net.Listener) iscsi.Paths {
	paths := a.faults.NewPaths()
	listen := func(network, address string) (net.Listener, error) {
		return a.listen(context.Background(), network, address)
	}
	for i, ln := range portals {
		portals[i] = paths.Listen(ln, uint16(i+1), listen)
	}
	return brokenPaths{paths}
}

// validateFaults parses the rules under faults:.
func (c *Config) validateFaults() error {
	if len(c.Faults) > fault.MaxRules {
		return fmt.Errorf("faults: %d rules, more than %d", len(c.Faults), fault.MaxRules)
	}
	for i, text := range c.Faults {
		r, err := fault.Parse(text)
		if err != nil {
			return fmt.Errorf("faults[%d]: %w", i, err)
		}
		if r.Keep() {
			return fmt.Errorf("faults[%d]: keep is for rules that are added while the array runs", i)
		}
	}
	return nil
}

// faultSource shows the rules to the API.
type faultSource struct{ i *fault.Injector }

func (s faultSource) List() []api.Fault {
	all := []api.Fault{}
	for _, x := range s.i.List() {
		all = append(all, shown(x))
	}
	return all
}

func shown(x fault.State) api.Fault {
	return api.Fault{ID: x.ID, Rule: x.Rule, Hits: x.Hits, Active: x.Active, Phase: string(x.Phase)}
}

func (s faultSource) Show(id string) (api.Fault, error) {
	x, err := s.i.Show(id)
	return shown(x), err
}

func (s faultSource) Add(ctx context.Context, rule string) (api.Fault, error) {
	x, err := s.i.Add(ctx, rule)
	return shown(x), err
}

func (s faultSource) Remove(ctx context.Context, id string) error { return s.i.Remove(ctx, id) }
func (s faultSource) Clear(ctx context.Context) error             { return s.i.Clear(ctx) }
