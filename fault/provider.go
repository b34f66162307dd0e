package fault

import "context"

// Invoker answers operations of a VASA provider, as vasa.Invoker does.
type Invoker interface {
	Invoke(ctx context.Context, op string, req any) (resp any, err error)
}

// Failures makes the errors of the provider, which this package does not know.
type Failures struct {
	// Fault is the error with which operation op ends as the fault of that name; false
	// when it may not end so.
	Fault func(op, name string) (fault error, ok bool)
	// Silence is the error that ends the connection without an answer.
	Silence error
}

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
	for _, e := range *rules {
		if e.op.class == namedClass && e.op.name != op {
			continue
		}
		var fault error
		if e.action.kind == namedFault {
			var ok bool
			if fault, ok = p.f.Fault(op, e.action.fault); !ok {
				continue // a rule for all operations that may end so
			}
		}
		if !p.i.strike(e) {
			continue
		}
		switch e.action.kind {
		case namedFault:
			return nil, fault
		case drop:
			return nil, p.f.Silence
		}
		if !e.wait(ctx.Done()) {
			return nil, ctx.Err()
		}
		if e.action.kind == hang && p.i.stopping() {
			return nil, p.f.Silence
		}
		break
	}
	return p.next.Invoke(ctx, op, req)
}
