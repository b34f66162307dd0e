package fault

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"vvsim/fault/command"
	"vvsim/fault/grammar"
	"vvsim/vvol"
)

// Invoker answers operations of a VASA provider, as vasa.Invoker does.
type Invoker interface {
	Invoke(ctx context.Context, op string, req any) (resp any, err error)
}

// Failures makes the errors of the provider, which this package does not know.
type Failures struct {
	// Fault is the error with which operation op ends as the fault of that name, and
	// whether it declares it.
	Fault func(op, name string) (fault error, declared bool)
	// Silence is the error that ends the connection without an answer.
	Silence error
	// HasSession tells whether the caller of an operation has one.
	HasSession func(ctx context.Context) bool
	// EndSession ends the caller's session and makes the error that tells it so.
	EndSession func(ctx context.Context) error
	// Subjects tells what a request is about and who asks. Called only for rules with vvol=,
	// container= or host=, once for an operation. nil: no operation is about anything.
	Subjects func(ctx context.Context, req any) Subjects
	// LoseEvents drops what the caller was not told yet; Storm queues n events for it.
	LoseEvents func(ctx context.Context)
	Storm      func(ctx context.Context, n int)
}

// Subjects are what an operation is about, and who asks.
type Subjects struct {
	VVols      []vvol.ID
	Containers []vvol.ContainerID
	Initiators []string // of the host that asks
}

// asked is an operation that rules look at.
type asked struct {
	op    string
	req   any
	about *Subjects // nil: no rule wanted to know yet
}

// eventsOperation is the one with which clients ask for events.
const eventsOperation = "getEvents"

// Provider is an Invoker whose operations rules of layer vasa break. Safe for concurrent use.
type Provider struct {
	next Invoker
	i    *Injector
	f    Failures
}

// NewProvider decorates next.
func (i *Injector) NewProvider(next Invoker, f Failures) *Provider { return &Provider{next, i, f} }

// Invoke implements Invoker.
func (p *Provider) Invoke(ctx context.Context, op string, req any) (any, error) {
	rules := p.i.providers.Load()
	if rules == nil {
		return p.next.Invoke(ctx, op, req)
	}
	a := asked{op: op, req: req}
	for _, e := range *rules {
		done, err := p.meet(ctx, e, &a)
		if err != nil {
			return nil, err
		}
		if done {
			break
		}
	}
	return p.next.Invoke(ctx, op, req)
}

// meet has a rule break an operation. done tells that it did; without an error the
// operation goes on.
func (p *Provider) meet(ctx context.Context, e *entry, a *asked) (done bool, err error) {
	op := a.op
	if e.op.Class == command.Named && e.op.Name != op || !p.means(ctx, e.Rule, a) {
		return false, nil
	}
	switch e.action.kind {
	case namedFault:
		// A rule for all operations is one for those that declare the fault.
		if f, declared := p.f.Fault(op, e.action.fault); (declared || e.op.Class == command.Named) && p.i.strike(e) {
			return true, f
		}
		return false, nil
	case certificate:
		return false, nil
	case loseEvents, eventStorm:
		if op != eventsOperation || !p.f.HasSession(ctx) {
			return false, nil
		}
	case dropSession:
		if !p.f.HasSession(ctx) {
			return false, nil
		}
	}
	if !p.i.strike(e) {
		return false, nil
	}
	return true, p.do(ctx, e)
}

// means tells whether a rule's vvol=, container= and host= hold for an operation, each by itself.
func (p *Provider) means(ctx context.Context, r *Rule, a *asked) bool {
	if !r.scoped() {
		return true
	}
	if a.about == nil {
		a.about = &Subjects{}
		if p.f.Subjects != nil {
			*a.about = p.f.Subjects(ctx, a.req)
		}
	}
	s := a.about
	return (r.host == "" || slices.ContainsFunc(s.Initiators, func(name string) bool { return strings.EqualFold(name, r.host) })) &&
		(r.vvol == "" || slices.ContainsFunc(s.VVols, func(id vvol.ID) bool { return p.i.isVolume(r, id) })) &&
		(r.container == "" || slices.ContainsFunc(s.Containers, func(id vvol.ContainerID) bool { return p.i.isContainer(r, id) }) ||
			slices.ContainsFunc(s.VVols, func(id vvol.ID) bool { return p.i.contained(r, id) }))
}

// scoped tells whether a rule has vvol=, container= or host=.
func (r *Rule) scoped() bool { return r.vvol != "" || r.container != "" || r.host != "" }

// do is what a rule that has fired does before the operation, or in its place.
func (p *Provider) do(ctx context.Context, e *entry) error {
	switch e.action.kind {
	case drop, down:
		return p.f.Silence
	case dropSession:
		return p.f.EndSession(ctx)
	case loseEvents:
		p.f.LoseEvents(ctx)
		return nil
	case eventStorm:
		p.f.Storm(ctx, e.action.n)
		return nil
	}
	if !e.wait(ctx.Done()) {
		return ctx.Err()
	}
	if e.action.kind == hang && p.i.stopping() {
		return p.f.Silence
	}
	return nil
}

// flaws of the provider's certificate, by name.
var flaws = []string{"expired", "wrong-name", "untrusted"}

func (a *action) parseCertificate(args []string) (err error) {
	if a.fault, err = a.single(args); err != nil {
		return err
	}
	return grammar.Choice(a.fault, flaws)
}

// maxStorm bounds the events of one answer's storm: more than clients are kept for them.
const maxStorm = 10_000

func (a *action) parseStorm(args []string) error {
	text, err := a.single(args)
	if err != nil {
		return err
	}
	n, err := grammar.Number(text, 1, maxStorm)
	a.n = int(n)
	return err
}

// providerFits tells what is wrong with the operation that a rule of layer vasa names.
func (r *Rule) providerFits() error {
	switch r.action.kind {
	case certificate, down:
		if r.op.Class == command.Named || r.scoped() {
			return fmt.Errorf("it is about connections, and has no op=, vvol=, container= or host=")
		}
	case loseEvents, eventStorm:
		if r.op.Class == command.Named && r.op.Name != eventsOperation {
			return fmt.Errorf("it happens to %s alone", eventsOperation)
		}
		if r.vvol != "" || r.container != "" {
			return fmt.Errorf("it happens to %s, which is about no VVol and no container", eventsOperation)
		}
	}
	return nil
}

// Handshake counts a TLS handshake of the provider and tells how it is broken: closes, the
// connection is to be closed; flaw, the certificate to be shown is expired, wrong-name or
// untrusted; "" for none. Safe for concurrent use.
func (i *Injector) Handshake() (closes bool, flaw string) {
	rules := i.providers.Load()
	if rules == nil {
		return false, ""
	}
	for _, e := range *rules {
		if e.ofConnections() && i.strike(e) {
			return e.action.kind == down, e.action.fault
		}
	}
	return false, ""
}

// OnReconnect has f called when rules about connections of the provider come into force or
// go, so that clients connect anew.
func (i *Injector) OnReconnect(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.reconnect = f
}

// ofConnections tells whether a rule is about connections of the provider.
func (r *Rule) ofConnections() bool {
	return r.layer == providerLayer && (r.action.kind == certificate || r.action.kind == down)
}

// faultName is the fault that a rule has operations end with, "" for none.
func (r *Rule) faultName() string {
	if r.action.kind != namedFault {
		return ""
	}
	return r.action.fault
}
