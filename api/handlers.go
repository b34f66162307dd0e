package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"vvsim/vvol"
)

// handlers serve the operations of the OpenAPI document.
type handlers struct{ o Options }

// out wraps a body as huma wants it.
type out[T any] struct{ Body T }

// ref is the path parameter of most operations.
type ref struct {
	ID string `path:"id"`
}

// add registers one operation.
func add[I, O any](a huma.API, method, path, id, summary string, status int, f func(context.Context, *I) (*O, error)) {
	huma.Register(a, huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, DefaultStatus: status}, f)
}

func (h *handlers) register(a huma.API) {
	const get, post, patch, del = http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete
	const ok, created, empty = http.StatusOK, http.StatusCreated, http.StatusNoContent
	add(a, get, "/api/v1/containers", "list-containers", "List storage containers", ok, h.listContainers)
	add(a, post, "/api/v1/containers", "create-container", "Create a storage container", created, h.createContainer)
	add(a, get, "/api/v1/containers/{id}", "show-container", "Show a storage container", ok, h.showContainer)
	add(a, patch, "/api/v1/containers/{id}", "resize-container", "Resize a storage container", ok, h.resizeContainer)
	add(a, del, "/api/v1/containers/{id}", "delete-container", "Delete an empty storage container", empty, h.deleteContainer)
	add(a, get, "/api/v1/vvols", "list-vvols", "List virtual volumes", ok, h.listVVols)
	add(a, post, "/api/v1/vvols", "create-vvol", "Create a virtual volume", created, h.createVVol)
	add(a, get, "/api/v1/vvols/{id}", "show-vvol", "Show a virtual volume, by id or unique name", ok, h.showVVol)
	add(a, patch, "/api/v1/vvols/{id}", "update-vvol", "Change name and metadata", ok, h.updateVVol)
	add(a, del, "/api/v1/vvols/{id}", "delete-vvol", "Delete a virtual volume that is not in use", empty, h.deleteVVol)
	add(a, post, "/api/v1/vvols/{id}/snapshot", "snapshot-vvol", "Take a snapshot", created, h.snapshot)
	add(a, post, "/api/v1/snapshots", "snapshot-vvols", "Take snapshots of several volumes at one instant", created, h.snapshots)
	add(a, post, "/api/v1/vvols/{id}/clone", "clone-vvol", "Make an independent copy", created, h.clone)
	add(a, post, "/api/v1/vvols/{id}/fast-clone", "fast-clone-vvol", "Make a linked copy", created, h.fastClone)
	add(a, post, "/api/v1/vvols/{id}/revert", "revert-vvol", "Go back to a snapshot", ok, h.revert)
	add(a, post, "/api/v1/vvols/{id}/resize", "resize-vvol", "Change the size", ok, h.resize)
	add(a, get, "/api/v1/vvols/{id}/ranges", "ranges-vvol", "Allocated ranges, or those that differ from a base", ok, h.ranges)
	add(a, get, "/api/v1/pes", "list-pes", "List protocol endpoints", ok, h.listPEs)
	add(a, get, "/api/v1/bindings", "list-bindings", "List bindings", ok, h.listBindings)
	add(a, post, "/api/v1/bindings", "bind", "Bind a volume to an initiator", created, h.bind)
	add(a, del, "/api/v1/bindings/{id}", "unbind", "Remove a binding", empty, h.unbind)
	add(a, get, "/api/v1/luns", "list-luns", "List flat LUN aliases", ok, h.listLUNs)
	add(a, post, "/api/v1/luns", "map-lun", "Map a volume to a flat LUN", created, h.mapLUN)
	add(a, del, "/api/v1/luns/{id}", "unmap-lun", "Remove a flat LUN", empty, h.unmapLUN)
	add(a, get, "/api/v1/hosts", "list-hosts", "List hosts", ok, h.listHosts)
	add(a, get, "/api/v1/hosts/{id}", "show-host", "Show a host", ok, h.showHost)
	add(a, get, "/api/v1/sessions", "list-sessions", "List iSCSI sessions", ok, h.listSessions)
	add(a, del, "/api/v1/sessions/{id}", "drop-session", "Drop an iSCSI session", empty, h.dropSession)
	add(a, get, "/api/v1/tasks", "list-tasks", "List tasks", ok, h.listTasks)
	add(a, get, "/api/v1/events", "list-events", "List events; a stream with Accept: text/event-stream", ok, h.listEvents)
	add(a, get, "/api/v1/knobs", "show-knobs", "Show the settings under esxi:", ok, h.showKnobs)
	add(a, patch, "/api/v1/knobs", "set-knobs", "Change settings under esxi: while the array runs", ok, h.setKnobs)
	add(a, get, "/api/v1/check", "check", "Compare catalog, engine and routes", ok, h.check)
	add(a, get, "/version", "version", "Version of the program", ok, h.version)
}

func (h *handlers) describeContainer(ctx context.Context, c vvol.StorageContainer) (*out[Container], error) {
	u, err := h.o.Service.ContainerUsage(ctx, c.ID.String())
	if err != nil {
		return nil, problem(err)
	}
	return &out[Container]{h.container(c, u)}, nil
}

func (h *handlers) listContainers(ctx context.Context, _ *struct{}) (*out[[]Container], error) {
	all := []Container{}
	for _, c := range h.o.Service.Containers() {
		d, err := h.describeContainer(ctx, c)
		if err != nil {
			return nil, err
		}
		all = append(all, d.Body)
	}
	return &out[[]Container]{all}, nil
}

type containerBody struct {
	Body struct {
		Name          string              `json:"name"`
		SizeBytes     uint64              `json:"sizeBytes"`
		ServiceLevels []vvol.ServiceLevel `json:"serviceLevels,omitempty"`
	}
}

func (h *handlers) createContainer(ctx context.Context, in *containerBody) (*out[Container], error) {
	c, err := h.o.Service.CreateContainer(ctx, vvol.ContainerSpec{Name: in.Body.Name, Size: in.Body.SizeBytes, ServiceLevels: in.Body.ServiceLevels})
	if err != nil {
		return nil, problem(err)
	}
	return h.describeContainer(ctx, c)
}

func (h *handlers) showContainer(ctx context.Context, in *ref) (*out[Container], error) {
	c, err := h.o.Service.Container(in.ID)
	if err != nil {
		return nil, problem(err)
	}
	return h.describeContainer(ctx, c)
}

type sizeBody struct {
	ID   string `path:"id"`
	Body struct {
		SizeBytes uint64 `json:"sizeBytes"`
	}
}

func (h *handlers) resizeContainer(ctx context.Context, in *sizeBody) (*out[Container], error) {
	c, err := h.o.Service.ResizeContainer(ctx, in.ID, in.Body.SizeBytes)
	if err != nil {
		return nil, problem(err)
	}
	return h.describeContainer(ctx, c)
}

func (h *handlers) deleteContainer(ctx context.Context, in *ref) (*struct{}, error) {
	return nil, problem(h.o.Service.DeleteContainer(ctx, in.ID))
}

// describe measures a volume and adds what points at it.
func (h *handlers) describe(ctx context.Context, v vvol.VirtualVolume) (*out[VVol], error) {
	u, err := h.o.Service.Usage(ctx, v.ID)
	if err != nil {
		return nil, problem(err)
	}
	d := VVol{ID: v.ID.String(), Name: v.Name, Type: string(v.Type), SizeBytes: v.Size, AllocatedBytes: u.Allocated, UnsharedBytes: u.Unshared,
		State: string(v.State), ServiceLevel: v.ServiceLevel, ReadOnly: v.ReadOnly, Bindings: []Binding{}, LUNs: []int{}, Metadata: v.Metadata, Created: v.Created}
	if d.Metadata == nil {
		d.Metadata = map[string]string{}
	}
	if c, err := h.o.Service.Container(v.Container.String()); err == nil {
		d.Container = c.Name
	}
	if v.Parent != (vvol.ID{}) {
		d.Parent = v.Parent.String()
	}
	if v.SnapshotOf != (vvol.ID{}) {
		d.SnapshotOf = v.SnapshotOf.String()
	}
	for _, b := range h.o.Service.Bindings(vvol.BindingFilter{VVol: &v.ID}) {
		d.Bindings = append(d.Bindings, h.binding(b))
	}
	for _, m := range h.o.Service.LUNMappings() {
		if m.VVol == v.ID {
			d.LUNs = append(d.LUNs, int(m.LUN))
		}
	}
	return &out[VVol]{d}, nil
}

// described chains an operation and the description of its result.
func (h *handlers) described(ctx context.Context, v vvol.VirtualVolume, err error) (*out[VVol], error) {
	if err != nil {
		return nil, problem(err)
	}
	return h.describe(ctx, v)
}

type vvolFilter struct {
	Container string `query:"container"`
	Name      string `query:"name"`
	Type      string `query:"type"`
}

func (h *handlers) listVVols(ctx context.Context, in *vvolFilter) (*out[[]VVol], error) {
	all := []VVol{}
	for _, v := range h.o.Service.VVols(vvol.Filter{Container: in.Container, Name: in.Name, Type: vvol.Type(in.Type)}) {
		d, err := h.describe(ctx, v)
		if err != nil {
			continue // deleted meanwhile
		}
		all = append(all, d.Body)
	}
	return &out[[]VVol]{all}, nil
}

type createBody struct {
	Body struct {
		Container    string            `json:"container"`
		SizeBytes    uint64            `json:"sizeBytes"`
		Type         string            `json:"type,omitempty" enum:"Config,Data,Swap,Memory,Other"`
		Name         string            `json:"name,omitempty"`
		ServiceLevel string            `json:"serviceLevel,omitempty"`
		Metadata     map[string]string `json:"metadata,omitempty"`
	}
}

func (h *handlers) createVVol(ctx context.Context, in *createBody) (*out[VVol], error) {
	b := &in.Body
	kind := vvol.Type(b.Type)
	if kind == "" {
		kind = vvol.Data
	}
	v, err := h.o.Service.Create(ctx, vvol.CreateSpec{Container: b.Container, Size: b.SizeBytes, Type: kind, Name: b.Name,
		ServiceLevel: b.ServiceLevel, Metadata: b.Metadata})
	return h.described(ctx, v, err)
}

func (h *handlers) showVVol(ctx context.Context, in *ref) (*out[VVol], error) {
	v, err := h.o.Service.Find(in.ID)
	return h.described(ctx, v, err)
}

type updateBody struct {
	ID   string `path:"id"`
	Body struct {
		Name     *string            `json:"name,omitempty"`
		Metadata map[string]*string `json:"metadata,omitempty" doc:"null deletes a key"`
	}
}

func (h *handlers) updateVVol(ctx context.Context, in *updateBody) (*out[VVol], error) {
	v, err := h.o.Service.Find(in.ID)
	if err != nil {
		return nil, problem(err)
	}
	v, err = h.o.Service.Update(ctx, v.ID, vvol.UpdateSpec{Name: in.Body.Name, Metadata: in.Body.Metadata})
	return h.described(ctx, v, err)
}

func (h *handlers) deleteVVol(ctx context.Context, in *ref) (*struct{}, error) {
	v, err := h.o.Service.Find(in.ID)
	if err != nil {
		return nil, problem(err)
	}
	return nil, problem(h.o.Service.Delete(ctx, v.ID))
}

type copyRequest struct {
	Name      string            `json:"name,omitempty"`
	Metadata  map[string]string `json:"metadata,omitempty"`
	Writable  bool              `json:"writable,omitempty" doc:"of a snapshot: it may be written"`
	Container string            `json:"container,omitempty" doc:"of a clone: where it goes"`
}

type copyBody struct {
	ID   string       `path:"id"`
	Body *copyRequest `required:"false"`
}

func (in *copyBody) request() copyRequest {
	if in.Body == nil {
		return copyRequest{}
	}
	return *in.Body
}

func (h *handlers) snapshot(ctx context.Context, in *copyBody) (*out[VVol], error) {
	v, err := h.o.Service.Find(in.ID)
	if err != nil {
		return nil, problem(err)
	}
	r := in.request()
	v, err = h.o.Service.Snapshot(ctx, v.ID, vvol.SnapshotSpec{Name: r.Name, Metadata: r.Metadata, Writable: r.Writable})
	return h.described(ctx, v, err)
}

type snapshotsBody struct {
	Body struct {
		Items []struct {
			VVol     string            `json:"vvol"`
			Name     string            `json:"name,omitempty"`
			Metadata map[string]string `json:"metadata,omitempty"`
			Writable bool              `json:"writable,omitempty"`
		} `json:"items"`
	}
}

func (h *handlers) snapshots(ctx context.Context, in *snapshotsBody) (*out[[]VVol], error) {
	var items []vvol.SnapshotItem
	for _, i := range in.Body.Items {
		v, err := h.o.Service.Find(i.VVol)
		if err != nil {
			return nil, problem(err)
		}
		items = append(items, vvol.SnapshotItem{VVol: v.ID, SnapshotSpec: vvol.SnapshotSpec{Name: i.Name, Metadata: i.Metadata, Writable: i.Writable}})
	}
	made, err := h.o.Service.SnapshotSet(ctx, items)
	if err != nil {
		return nil, problem(err)
	}
	all := []VVol{}
	for _, v := range made {
		d, err := h.describe(ctx, v)
		if err != nil {
			return nil, err
		}
		all = append(all, d.Body)
	}
	return &out[[]VVol]{all}, nil
}

func (h *handlers) clone(ctx context.Context, in *copyBody) (*out[VVol], error) {
	return h.copied(ctx, in, h.o.Service.Clone)
}

func (h *handlers) fastClone(ctx context.Context, in *copyBody) (*out[VVol], error) {
	return h.copied(ctx, in, h.o.Service.FastClone)
}

func (h *handlers) copied(ctx context.Context, in *copyBody, f func(context.Context, vvol.ID, vvol.CloneSpec) (vvol.VirtualVolume, error)) (*out[VVol], error) {
	v, err := h.o.Service.Find(in.ID)
	if err != nil {
		return nil, problem(err)
	}
	r := in.request()
	v, err = f(ctx, v.ID, vvol.CloneSpec{Name: r.Name, Container: r.Container, Metadata: r.Metadata})
	return h.described(ctx, v, err)
}

type revertBody struct {
	ID   string `path:"id"`
	Body struct {
		Snapshot string `json:"snapshot"`
	}
}

func (h *handlers) revert(ctx context.Context, in *revertBody) (*out[VVol], error) {
	v, err := h.o.Service.Find(in.ID)
	if err != nil {
		return nil, problem(err)
	}
	s, err := h.o.Service.Find(in.Body.Snapshot)
	if err != nil {
		return nil, problem(err)
	}
	v, err = h.o.Service.Revert(ctx, v.ID, s.ID)
	return h.described(ctx, v, err)
}

func (h *handlers) resize(ctx context.Context, in *sizeBody) (*out[VVol], error) {
	v, err := h.o.Service.Find(in.ID)
	if err != nil {
		return nil, problem(err)
	}
	v, err = h.o.Service.Resize(ctx, v.ID, in.Body.SizeBytes)
	return h.described(ctx, v, err)
}

type rangesQuery struct {
	ID   string `path:"id"`
	Base string `query:"base" doc:"ranges that differ from this volume"`
	Kind string `query:"kind" enum:"allocated,unshared" doc:"without base"`
}

func (h *handlers) ranges(ctx context.Context, in *rangesQuery) (*out[[]Range], error) {
	v, err := h.o.Service.Find(in.ID)
	if err != nil {
		return nil, problem(err)
	}
	kind, base := vvol.Allocated, (*vvol.ID)(nil)
	if in.Kind == "unshared" {
		kind = vvol.Unshared
	}
	if in.Base != "" {
		b, err := h.o.Service.Find(in.Base)
		if err != nil {
			return nil, problem(err)
		}
		kind, base = vvol.Different, &b.ID
	}
	all := []Range{}
	for r, err := range h.o.Service.Ranges(ctx, v.ID, kind, base, 0) {
		if err != nil {
			return nil, problem(err)
		}
		all = append(all, Range{r.Offset, r.Length})
	}
	return &out[[]Range]{all}, nil
}

func (h *handlers) listPEs(context.Context, *struct{}) (*out[[]PE], error) {
	all := []PE{}
	for _, e := range h.o.Service.Endpoints() {
		all = append(all, PE{ID: string(e.ID), Name: e.Name, LUN: e.LUN, State: "online"})
	}
	return &out[[]PE]{all}, nil
}

func (h *handlers) listBindings(context.Context, *struct{}) (*out[[]Binding], error) {
	all := []Binding{}
	for _, b := range h.o.Service.Bindings(vvol.BindingFilter{}) {
		all = append(all, h.binding(b))
	}
	return &out[[]Binding]{all}, nil
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
	return &out[Binding]{h.binding(b)}, nil
}

func (h *handlers) unbind(ctx context.Context, in *ref) (*struct{}, error) {
	n, err := strconv.ParseUint(in.ID, 10, 64)
	if err != nil {
		return nil, problem(fmt.Errorf("%w: binding %q", vvol.ErrNotFound, in.ID))
	}
	return nil, problem(h.o.Service.UnbindByID(ctx, vvol.BindingID(n)))
}

func (h *handlers) listLUNs(context.Context, *struct{}) (*out[[]LUN], error) {
	all := []LUN{}
	for _, m := range h.o.Service.LUNMappings() {
		all = append(all, LUN{int(m.LUN), m.VVol.String()})
	}
	return &out[[]LUN]{all}, nil
}

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
	return &out[LUN]{LUN{int(m.LUN), m.VVol.String()}}, nil
}

func (h *handlers) unmapLUN(ctx context.Context, in *ref) (*struct{}, error) {
	n, err := strconv.ParseUint(in.ID, 10, 16)
	if err != nil {
		return nil, problem(fmt.Errorf("%w: LUN %q", vvol.ErrNotFound, in.ID))
	}
	return nil, problem(h.o.Service.UnmapLUN(ctx, uint16(n)))
}

func (h *handlers) describeHost(x vvol.Host) Host {
	d := Host{ID: string(x.ID), Initiators: x.Initiators, FirstSeen: x.FirstSeen,
		Bindings: len(h.o.Service.Bindings(vvol.BindingFilter{Host: x.ID}))}
	for _, s := range h.o.Sessions.Sessions() {
		for _, name := range x.Initiators {
			if s.Initiator == name && !s.Discovery {
				d.Sessions++
			}
		}
	}
	return d
}

func (h *handlers) listHosts(context.Context, *struct{}) (*out[[]Host], error) {
	all := []Host{}
	for _, x := range h.o.Service.Hosts() {
		all = append(all, h.describeHost(x))
	}
	return &out[[]Host]{all}, nil
}

func (h *handlers) showHost(_ context.Context, in *ref) (*out[Host], error) {
	x, err := h.o.Service.Host(in.ID)
	if err != nil {
		return nil, problem(err)
	}
	return &out[Host]{h.describeHost(x)}, nil
}

func (h *handlers) listSessions(context.Context, *struct{}) (*out[[]Session], error) {
	return &out[[]Session]{append([]Session{}, h.o.Sessions.Sessions()...)}, nil
}

func (h *handlers) dropSession(_ context.Context, in *ref) (*struct{}, error) {
	n, err := strconv.ParseUint(in.ID, 10, 64)
	if err != nil || !h.o.Sessions.Drop(n) {
		return nil, problem(fmt.Errorf("%w: session %q", vvol.ErrNotFound, in.ID))
	}
	return nil, nil
}

func (h *handlers) listTasks(context.Context, *struct{}) (*out[[]vvol.Task], error) {
	return &out[[]vvol.Task]{append([]vvol.Task{}, h.o.Service.Tasks()...)}, nil
}

type eventsQuery struct {
	From  uint64 `query:"from" doc:"first serial"`
	Limit int    `query:"limit" default:"1000" minimum:"1" maximum:"10000"`
}

func (h *handlers) listEvents(_ context.Context, in *eventsQuery) (*out[[]vvol.Event], error) {
	return &out[[]vvol.Event]{append([]vvol.Event{}, h.o.Service.Events(in.From, in.Limit)...)}, nil
}

func (h *handlers) showKnobs(context.Context, *struct{}) (*out[map[string]any], error) {
	return &out[map[string]any]{h.o.Knobs.Get()}, nil
}

type knobsBody struct{ Body map[string]any }

func (h *handlers) setKnobs(_ context.Context, in *knobsBody) (*out[map[string]any], error) {
	if err := h.o.Knobs.Set(in.Body); err != nil {
		return nil, problem(err)
	}
	return &out[map[string]any]{h.o.Knobs.Get()}, nil
}

type checkResult struct {
	OK      bool   `json:"ok"`
	Problem string `json:"problem,omitempty"`
}

func (h *handlers) check(ctx context.Context, _ *struct{}) (*out[checkResult], error) {
	if err := h.o.Service.Check(ctx); err != nil {
		return &out[checkResult]{checkResult{Problem: err.Error()}}, nil
	}
	return &out[checkResult]{checkResult{OK: true}}, nil
}

type versionResult struct {
	Version string `json:"version"`
}

func (h *handlers) version(context.Context, *struct{}) (*out[versionResult], error) {
	return &out[versionResult]{versionResult{h.o.Version}}, nil
}
