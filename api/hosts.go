package api

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"vvsim/vvol"
)

// describeHost is a function of hosts; it looks at the sessions once.
func (h *handlers) describeHost() func(vvol.Host) Host {
	sessions := map[string]int{}
	for _, s := range h.o.Sessions.Sessions() {
		if !s.Discovery {
			sessions[s.Initiator]++
		}
	}
	return func(x vvol.Host) Host {
		d := Host{ID: string(x.ID), GUID: x.GUID, Initiators: x.Initiators, FirstSeen: x.FirstSeen,
			Bindings: len(h.o.Service.Bindings(vvol.BindingFilter{Host: x.ID}))}
		for _, name := range x.Initiators {
			d.Sessions += sessions[name]
		}
		return d
	}
}

func (h *handlers) listHosts(_ context.Context, in *Paging) (*list[Host], error) {
	return listed(h.o.Service.Hosts(), *in, h.describeHost()), nil
}

func (h *handlers) showHost(_ context.Context, in *ref) (*out[Host], error) {
	x, err := h.o.Service.Host(in.ID)
	if err != nil {
		return nil, problem(err)
	}
	return &out[Host]{h.describeHost()(x)}, nil
}

func (h *handlers) listSessions(_ context.Context, in *Paging) (*list[Session], error) {
	all := h.o.Sessions.Sessions()
	slices.SortFunc(all, func(a, b Session) int { return a.ConnectedSince.Compare(b.ConnectedSince) })
	return listed(all, *in, same), nil
}

func (h *handlers) dropSession(_ context.Context, in *ref) (*struct{}, error) {
	n, err := strconv.ParseUint(in.ID, 10, 64)
	if err != nil || !h.o.Sessions.Drop(n) {
		return nil, problem(fmt.Errorf("%w: session %q", vvol.ErrNotFound, in.ID))
	}
	return nil, nil
}
