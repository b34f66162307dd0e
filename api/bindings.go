package api

import (
	"context"
	"fmt"
	"strconv"

	"vvsim/vvol"
)

func (h *handlers) listPEs(_ context.Context, in *Paging) (*list[PE], error) {
	return listed(h.o.Service.Endpoints(), *in, func(e vvol.ProtocolEndpoint) PE {
		return PE{ID: string(e.ID), Name: e.Name, LUN: e.LUN, State: "online"}
	}), nil
}

func (h *handlers) listBindings(_ context.Context, in *Paging) (*list[Binding], error) {
	all := h.o.Service.Bindings(vvol.BindingFilter{})
	return listed(all, *in, h.relateBindings(cut(all, *in)...).binding), nil
}

type bindBody struct {
	Body struct {
		VVol      string `json:"vvol"`
		Initiator string `json:"initiator"`
	}
}

func (h *handlers) bind(ctx context.Context, in *bindBody) (*out[Binding], error) {
	v, err := h.o.Service.Find(in.Body.VVol)
	if err != nil {
		return nil, problem(err)
	}
	b, err := h.o.Service.Bind(ctx, v.ID, in.Body.Initiator)
	if err != nil {
		return nil, problem(err)
	}
	return &out[Binding]{h.relateBindings(b).binding(b)}, nil
}

func (h *handlers) unbind(ctx context.Context, in *ref) (*struct{}, error) {
	n, err := strconv.ParseUint(in.ID, 10, 64)
	if err != nil {
		return nil, problem(fmt.Errorf("%w: binding %q", vvol.ErrNotFound, in.ID))
	}
	return nil, problem(h.o.Service.UnbindByID(ctx, vvol.BindingID(n)))
}

func (h *handlers) listLUNs(_ context.Context, in *Paging) (*list[LUN], error) {
	return listed(h.o.Service.LUNMappings(), *in, showLUN), nil
}

func showLUN(m vvol.LUNMapping) LUN { return LUN{int(m.LUN), m.VVol.String()} }

type lunBody struct {
	Body struct {
		VVol string `json:"vvol"`
		LUN  *int   `json:"lun,omitempty" minimum:"0" maximum:"16383"`
	}
}

func (h *handlers) mapLUN(ctx context.Context, in *lunBody) (*out[LUN], error) {
	v, err := h.o.Service.Find(in.Body.VVol)
	if err != nil {
		return nil, problem(err)
	}
	var lun *uint16
	if in.Body.LUN != nil {
		n := uint16(*in.Body.LUN)
		lun = &n
	}
	m, err := h.o.Service.MapLUN(ctx, v.ID, lun)
	if err != nil {
		return nil, problem(err)
	}
	return &out[LUN]{showLUN(m)}, nil
}

func (h *handlers) unmapLUN(ctx context.Context, in *ref) (*struct{}, error) {
	n, err := strconv.ParseUint(in.ID, 10, 16)
	if err != nil {
		return nil, problem(fmt.Errorf("%w: LUN %q", vvol.ErrNotFound, in.ID))
	}
	return nil, problem(h.o.Service.UnmapLUN(ctx, uint16(n)))
}
