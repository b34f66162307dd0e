package vasa

import (
	"context"
	"fmt"

	"vvsim/vasa/wire"
)

// need says what a caller must have for an operation (vasa.md 1.4).
type need int

const (
	needSession     need = iota // a trusted certificate and a session
	needCertificate             // a trusted certificate
	needNothing                 // neither: the bootstrap
)

// handler answers one operation: req is a pointer to its request, the result a pointer
// to its response, nil if it has none.
type handler struct {
	need need
	do   func(ctx context.Context, c *caller, req any) (any, error)
}

// answers makes the handler of an operation with a response.
func answers[Q, R any](do func(ctx context.Context, c *caller, req *Q) (*R, error)) handler {
	return handler{do: func(ctx context.Context, c *caller, req any) (any, error) {
		q, ok := req.(*Q)
		if !ok {
			return nil, fmt.Errorf("vasa: a %T came for a %T", req, q)
		}
		r, err := do(ctx, c, q)
		if err != nil {
			return nil, err
		}
		return r, nil
	}}
}

// obeys makes the handler of an operation whose answer is empty.
func obeys[Q any](do func(ctx context.Context, c *caller, req *Q) error) handler {
	return handler{do: func(ctx context.Context, c *caller, req any) (any, error) {
		q, ok := req.(*Q)
		if !ok {
			return nil, fmt.Errorf("vasa: a %T came for a %T", req, q)
		}
		return nil, do(ctx, c, q)
	}}
}

func (h handler) with(n need) handler {
	h.need = n
	return h
}

// operations is the table of all 74, by name; a test compares it with wire's.
func (p *Provider) operations() map[string]handler {
	all := map[string]handler{}
	for _, group := range []map[string]handler{p.registration(), p.taskOperations(), p.bitmapOperations(), p.volumeOperations(),
		p.snapshotOperations(), p.policyOperations(), p.inventoryOperations(), p.lunOperations(), p.containerOperations(),
		p.eventOperations(), p.statisticsOperations(), p.bindingOperations()} {
		for name, h := range group {
			all[name] = h
		}
	}
	return all
}

// Invoker answers operations; Provider.Decorate puts one in front of the provider's own.
// req is a pointer to a request of package wire, resp a pointer to its response or nil.
type Invoker interface {
	Invoke(ctx context.Context, op string, req any) (resp any, err error)
}

// direct is the provider's own Invoker.
type direct struct{ p *Provider }

func (d direct) Invoke(ctx context.Context, op string, req any) (any, error) {
	h, ok := d.p.handlers[op]
	if !ok {
		return nil, refuse(&wire.NotImplemented{}, "%s is not offered", op)
	}
	c, ok := ctx.Value(callerKey{}).(*caller)
	if !ok {
		return nil, fmt.Errorf("vasa: %s without a caller", op)
	}
	return h.do(ctx, c, req)
}
