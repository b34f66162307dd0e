package vasa

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"vvsim/vasa/session"
	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// bindingOperations are the operations of vasa.md 2.7.
func (p *Provider) bindingOperations() map[string]handler {
	return map[string]handler{
		"bindVirtualVolume":               answers(p.bindVirtualVolume),
		"unbindVirtualVolume":             answers(p.unbindVirtualVolume),
		"unbindVirtualVolumeFromAllHost":  answers(p.unbindVirtualVolumeFromAllHost),
		"unbindAllVirtualVolumesFromHost": obeys(p.unbindAllVirtualVolumesFromHost),
		"prepareForBindingChange":         answers(p.prepareForBindingChange),
		"bindingChangeComplete":           answers(p.bindingChangeComplete),
		"cancelBindingChange":             answers(p.cancelBindingChange),
	}
}

// batchParallel is how many items of one batch are worked on at a time: enough that they
// share the catalog's commits, and few enough that one host's batch leaves room for the
// others.
const batchParallel = 8

// inParallel calls do for the items 0 to n-1 of a batch, batchParallel at a time, and
// returns the error of each. A panic is the item's error too.
func (p *Provider) inParallel(c *caller, n int, do func(i int) error) []error {
	var (
		group sync.WaitGroup
		next  atomic.Int64
		errs  = make([]error, n)
	)
	one := func(i int) (err error) {
		defer func() { p.survive(c, recover(), &err) }()
		return do(i)
	}
	for range min(batchParallel, n) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				errs[i] = one(i)
			}
		})
	}
	group.Wait()
	return errs
}

// bindVirtualVolume gives the calling host a way to each VVol. Bindings are counted per
// host, not per call: one that the host has already is answered again (vasa.md 2.7, and 10
// about lost answers). The context makes no difference: the array moves no binding of its
// own accord, so that the bind in the middle of a rebind (8.4) finds the way that is there,
// and gives the same handle. An id that is malformed or of no VVol is its row's fault; what
// the caller lacks, and VVols of several containers, are the call's.
func (p *Provider) bindVirtualVolume(ctx context.Context, c *caller, q *wire.BindVirtualVolume) (*wire.BindVirtualVolumeResponse, error) {
	if err := p.checkBatch(len(q.VVolID)); err != nil {
		return nil, err
	}
	if !wire.Valid(q.BindContext) {
		return nil, invalid("bindContext %q is none of the contract's", q.BindContext)
	}
	host, err := p.binder(c.session)
	if err != nil {
		return nil, err
	}
	volumes, errs := make([]vvol.VirtualVolume, len(q.VVolID)), make([]error, len(q.VVolID))
	in := ""
	for i, id := range q.VVolID {
		if volumes[i], errs[i] = p.volume(id); errs[i] != nil {
			continue
		}
		k := volumes[i].Container.String()
		if in != "" && k != in {
			return nil, invalid("%s is in container %s, others of the list are in %s", id, k, in)
		}
		in = k
	}
	r := &wire.BindVirtualVolumeResponse{Return: make([]wire.BatchVirtualVolumeHandleResult, len(q.VVolID))}
	for i, err := range p.inParallel(c, len(q.VVolID), func(i int) error {
		if errs[i] != nil {
			return errs[i]
		}
		b, err := host.bind(ctx, volumes[i].ID)
		if err != nil {
			return err
		}
		r.Return[i].VVolHandle, r.Return[i].VVolLogicalSize = new(p.handle(b)), new(megabytes(volumes[i].Size))
		r.Return[i].VVolInfo = new(volumeInfo(volumes[i]))
		return nil
	}) {
		if r.Return[i].VVolID = q.VVolID[i]; err != nil {
			r.Return[i].Fault = faultOf(err)
		}
	}
	return r, nil
}

// handle is a binding as it travels (vasa.md 5).
func (p *Provider) handle(b vvol.Binding) wire.VirtualVolumeHandle {
	return wire.VirtualVolumeHandle{BaseStorageEntity: wire.BaseStorageEntity{UniqueIdentifier: new(b.VVol.String())},
		PEInBandID: inBandID(b.PE), VVolSecondaryID: p.o.SecondaryID(b.Secondary)}
}

// binder is a host as it binds.
type binder struct {
	p *Provider
	// initiator is one of the host: the domain binds for all initiators of the host that
	// it belongs to, or for none.
	initiator string
}

// binder finds the host behind a session. A vCenter has no data path and may not bind
// (PermissionDenied, which bind declares); nor may a host all of whose initiators belong to
// another one. A host needs an iSCSI initiator, and must not see protocol endpoints of
// other arrays alone: no handle would lead it anywhere (vasa.md 10, the certification's
// bind with a PE that the array does not have).
func (p *Provider) binder(s *session.Session) (binder, error) {
	client, initiators := s.Client, s.Initiators()
	if !client.Host {
		return binder{}, refuse(&wire.PermissionDenied{}, "only hosts bind, %s is none", client.Key())
	}
	if len(initiators) == 0 {
		return binder{}, invalid("%s named no iSCSI initiator in its context", client.Key())
	}
	if sees := client.Endpoints(); len(sees) > 0 && !slices.ContainsFunc(sees, p.isEndpoint) {
		return binder{}, invalid("%s sees none of the array's protocol endpoints", client.Key())
	}
	for _, name := range initiators {
		if h, err := p.o.Service.Host(name); err == nil && belongs(h, client.GUID) {
			return binder{p, name}, nil
		}
	}
	return binder{}, refuse(&wire.PermissionDenied{}, "the initiators of %s belong to another host", client.Key())
}

// belongs tells whether a host of the domain is the one with a GUID, or is known by an
// initiator alone.
func belongs(h vvol.Host, guid string) bool { return h.GUID == "" || h.GUID == guid }

// isEndpoint tells whether a protocol endpoint that a host sees is the array's.
func (p *Provider) isEndpoint(e wire.ProtocolEndpoint) bool {
	return slices.ContainsFunc(p.o.Service.Endpoints(), func(pe vvol.ProtocolEndpoint) bool { return isInBand(e.InBandID, pe.ID) })
}

// isInBand tells whether an in-band id is that of an endpoint; case does not count (vasa.md 5).
func isInBand(id wire.ProtocolEndpointInbandId, pe vvol.PEID) bool {
	return id.ProtocolEndpointType == wire.ProtocolEndpointTypeSCSI && strings.EqualFold(value(id.LUNID), string(pe))
}

func (h binder) bind(ctx context.Context, id vvol.ID) (vvol.Binding, error) {
	return h.p.o.Service.Bind(ctx, id, h.initiator)
}

// hostIDs are the domain's hosts that are the one with a GUID and initiators: one, unless
// it could not be told from another.
func (p *Provider) hostIDs(guid string, initiators []string) (ids []vvol.HostID) {
	for _, name := range initiators {
		if h, err := p.o.Service.Host(name); err == nil && belongs(h, guid) && !slices.Contains(ids, h.ID) {
			ids = append(ids, h.ID)
		}
	}
	return ids
}

// unbindVirtualVolume takes the calling host's handles back. Which binding a handle is
// tells its endpoint and secondary id, and the VVol if that is named. In its row,
//
//   - Normal drops it; a handle that the host does not have is NotFound.
//   - RebindStart keeps it: the host has stopped its I/O, and I/O may go on until the end.
//     A handle that the host does not have is NotFound.
//   - RebindEnd drops it, unless it is the one that bind answers now: the bind since
//     RebindStart gave it again, and the host uses it. One that is gone was the aim.
func (p *Provider) unbindVirtualVolume(ctx context.Context, c *caller, q *wire.UnbindVirtualVolume) (*wire.UnbindVirtualVolumeResponse, error) {
	if err := p.checkBatch(len(q.VVolHandle)); err != nil {
		return nil, err
	}
	if !wire.Valid(q.UnbindContext) {
		return nil, invalid("unbindContext %q is none of the contract's", q.UnbindContext)
	}
	if !c.client().Host { // PermissionDenied is not declared here
		return nil, invalid("only hosts have handles, %s is none", c.client().Key())
	}
	bound := p.bound(c.session)
	r := &wire.UnbindVirtualVolumeResponse{Return: make([]wire.BatchReturnStatus, len(q.VVolHandle))}
	for i, err := range p.inParallel(c, len(q.VVolHandle), func(i int) error {
		return p.unbindHandle(ctx, c.session, bound, q.VVolHandle[i], q.UnbindContext)
	}) {
		r.Return[i] = wire.BatchReturnStatus{UniqueID: value(q.VVolHandle[i].UniqueIdentifier), ErrorResult: batchError(err)}
	}
	return r, nil
}

// bound are the bindings of a session's host.
func (p *Provider) bound(s *session.Session) (bound []vvol.Binding) {
	for _, host := range p.hostIDs(s.Client.GUID, s.Initiators()) {
		bound = append(bound, p.o.Service.Bindings(vvol.BindingFilter{Host: host})...)
	}
	return bound
}

// handleIn is which of a host's bindings a handle is, -1 for none.
func (p *Provider) handleIn(bound []vvol.Binding, h wire.VirtualVolumeHandle) int {
	return slices.IndexFunc(bound, func(b vvol.Binding) bool {
		return isInBand(h.PEInBandID, b.PE) && strings.EqualFold(h.VVolSecondaryID, p.o.SecondaryID(b.Secondary)) &&
			(value(h.UniqueIdentifier) == "" || strings.EqualFold(value(h.UniqueIdentifier), b.VVol.String()))
	})
}

// unbindHandle does so with one of the bindings that a host has.
func (p *Provider) unbindHandle(ctx context.Context, s *session.Session, bound []vvol.Binding, h wire.VirtualVolumeHandle, unbind wire.UnbindContext) error {
	id := value(h.UniqueIdentifier)
	if _, err := volumeID(id); err != nil && id != "" {
		return err
	}
	i := p.handleIn(bound, h)
	if i < 0 {
		if unbind == wire.UnbindContextRebindEnd {
			return nil
		}
		return refuse(&wire.NotFound{}, "the host has no handle %s of %q", h.VVolSecondaryID, id)
	}
	b := bound[i]
	switch unbind {
	case wire.UnbindContextRebindStart:
		return nil
	case wire.UnbindContextRebindEnd:
		if present, err := p.present(ctx, s, bound, b); err != nil || present {
			return err
		}
	}
	return p.o.Service.UnbindByID(ctx, b.ID)
}

// present tells whether a binding is the one that bind answers to its host. A host has
// several of a VVol only when it was known as several hosts before.
func (p *Provider) present(ctx context.Context, s *session.Session, bound []vvol.Binding, b vvol.Binding) (bool, error) {
	if !slices.ContainsFunc(bound, func(other vvol.Binding) bool { return other.VVol == b.VVol && other.ID != b.ID }) {
		return true, nil
	}
	host, err := p.binder(s)
	if err != nil {
		return false, err
	}
	now, err := host.bind(ctx, b.VVol)
	return now.ID == b.ID, err
}

// statuses works on each VVol of a batch, and tells how that went in its row.
func (p *Provider) statuses(c *caller, ids []string, do func(vvol.VirtualVolume) error) []wire.BatchReturnStatus {
	rows := make([]wire.BatchReturnStatus, len(ids))
	for i, err := range p.inParallel(c, len(ids), func(i int) error {
		v, err := p.volume(ids[i])
		if err != nil {
			return err
		}
		return do(v)
	}) {
		rows[i] = wire.BatchReturnStatus{UniqueID: ids[i], ErrorResult: batchError(err)}
	}
	return rows
}

// unbindVirtualVolumeFromAllHost takes no matter who calls: vCenter frees a VVol whose
// host is gone with it. A VVol without bindings is no error.
func (p *Provider) unbindVirtualVolumeFromAllHost(ctx context.Context, c *caller, q *wire.UnbindVirtualVolumeFromAllHost) (*wire.UnbindVirtualVolumeFromAllHostResponse, error) {
	if err := p.checkBatch(len(q.VVolID)); err != nil {
		return nil, err
	}
	rows := p.statuses(c, q.VVolID, func(v vvol.VirtualVolume) error { return p.o.Service.UnbindAll(ctx, v.ID) })
	return &wire.UnbindVirtualVolumeFromAllHostResponse{Return: rows}, nil
}

// unbindAllVirtualVolumesFromHost is how a host that has booted gives up what it had
// (vasa.md 8.4). It is the only way in which a host's bindings go all at once: the end of
// a session, and of the provider, leaves them, as I/O goes on. Without hostUuid, or with an
// empty one, it is about the calling host. A host that was never here is NotFound.
func (p *Provider) unbindAllVirtualVolumesFromHost(ctx context.Context, c *caller, q *wire.UnbindAllVirtualVolumesFromHost) error {
	var ids []vvol.HostID
	if guid := strings.ToLower(value(q.HostUUID)); guid != "" {
		var known bool
		if ids, known = p.hostsWith(guid); !known {
			return refuse(&wire.NotFound{}, "no host %q is known", guid)
		}
	} else if ids = p.hostIDs(c.client().GUID, c.session.Initiators()); !c.client().Host {
		return invalid("hostUuid is missing, and %s is no host", c.client().Key())
	}
	var errs []error
	for _, id := range ids {
		if err := p.o.Service.UnbindHost(ctx, id); !errors.Is(err, vvol.ErrNotFound) { // or it is another host's part now
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// hostsWith are the domain's hosts with a GUID, in lower case; known is false when neither
// the domain nor a session has ever heard of it.
func (p *Provider) hostsWith(guid string) (ids []vvol.HostID, known bool) {
	if h, err := p.o.Service.Host(guid); err == nil && h.GUID == guid {
		return []vvol.HostID{h.ID}, true
	}
	for _, client := range p.sessions.Clients() {
		if client.Host && client.GUID == guid {
			return p.hostIDs(guid, client.Initiators()), true
		}
	}
	return nil, false
}

// prepareForBindingChange checks what it is given, and has nothing to prepare: every
// endpoint serves every host, and a binding costs the same before a move and in it. A
// binding made ahead would stay, and keep the VVol from being deleted, should the move
// never be told as complete or cancelled.
func (p *Provider) prepareForBindingChange(ctx context.Context, _ *caller, q *wire.PrepareForBindingChange) (*wire.PrepareForBindingChangeResponse, error) {
	if err := p.checkBatch(len(q.VVolID)); err != nil {
		return nil, err
	}
	if q.DestHostID == "" {
		return nil, invalid("destHostId is empty")
	}
	if _, known := p.hostsWith(strings.ToLower(q.DestHostID)); !known {
		return nil, refuse(&wire.NotFound{}, "no host %q is known", q.DestHostID)
	}
	for _, id := range q.VVolID {
		if _, err := p.volume(id); err != nil {
			return nil, err
		}
	}
	t, err := p.noted(ctx, "prepareForBindingChange", vvol.ID{})
	if err != nil {
		return nil, err
	}
	return &wire.PrepareForBindingChangeResponse{Return: t}, nil
}

// bindingChangeComplete ends what prepared nothing: its rows tell which VVols are there.
// That it was prepared is not asked for.
func (p *Provider) bindingChangeComplete(_ context.Context, c *caller, q *wire.BindingChangeComplete) (*wire.BindingChangeCompleteResponse, error) {
	if err := p.checkBatch(len(q.VVolID)); err != nil {
		return nil, err
	}
	return &wire.BindingChangeCompleteResponse{Return: p.statuses(c, q.VVolID, func(vvol.VirtualVolume) error { return nil })}, nil
}

// cancelBindingChange is bindingChangeComplete by another name: there is nothing to undo.
func (p *Provider) cancelBindingChange(_ context.Context, c *caller, q *wire.CancelBindingChange) (*wire.CancelBindingChangeResponse, error) {
	if err := p.checkBatch(len(q.VVolID)); err != nil {
		return nil, err
	}
	return &wire.CancelBindingChangeResponse{Return: p.statuses(c, q.VVolID, func(vvol.VirtualVolume) error { return nil })}, nil
}
