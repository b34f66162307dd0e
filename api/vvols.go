package api

import (
	"context"
	"errors"

	"vvsim/vvol"
)

type vvolFilter struct {
	Paging
	Container string `query:"container" doc:"name or id"`
	Name      string `query:"name"`
	Type      string `query:"type" enum:"Config,Data,Swap,Memory,Other"`
}

func (h *handlers) listVVols(ctx context.Context, in *vvolFilter) (*list[VVol], error) {
	found := h.o.Service.VVols(vvol.Filter{Container: in.Container, Name: in.Name, Type: vvol.Type(in.Type)})
	all := &list[VVol]{Total: len(found), Body: []VVol{}}
	shown := cut(found, in.Paging)
	about := h.relate(shown...)
	for _, v := range shown {
		u, err := h.o.Service.Usage(ctx, v.ID)
		if errors.Is(err, vvol.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, problem(err)
		}
		all.Body = append(all.Body, about.vvol(v, u))
	}
	return all, nil
}

// describe measures a volume and adds what points at it.
func (h *handlers) describe(ctx context.Context, v vvol.VirtualVolume) (*out[VVol], error) {
	u, err := h.o.Service.Usage(ctx, v.ID)
	if err != nil {
		return nil, problem(err)
	}
	return &out[VVol]{h.relate(v).vvol(v, u)}, nil
}

// described chains an operation and the description of its result.
func (h *handlers) described(ctx context.Context, v vvol.VirtualVolume, err error) (*out[VVol], error) {
	if err != nil {
		return nil, problem(err)
	}
	return h.describe(ctx, v)
}

// QualityRequest asks for a quality; what is not named is the level's, or stays as it is.
type QualityRequest struct {
	Thick           *bool   `json:"thick,omitempty"`
	MaxIOPS         *uint64 `json:"maxIops,omitempty" doc:"0: no limit"`
	MaxBytesPerSec  *uint64 `json:"maxBytesPerSec,omitempty" doc:"0: no limit"`
	SnapshotLimit   *int    `json:"snapshotLimit,omitempty" doc:"0: as many as the array allows"`
	Durability      *string `json:"durability,omitempty" enum:"flush,sync"`
	WarnPercentUsed *int    `json:"warnPercentUsed,omitempty" doc:"of the container; 0: what its levels say"`
}

func (q *QualityRequest) spec(level string) vvol.PolicySpec {
	p := vvol.PolicySpec{ServiceLevel: level}
	if q != nil {
		p.Quality = vvol.QualitySpec(*q)
	}
	return p
}

type policyBody struct {
	ID   string `path:"id"`
	Body struct {
		ServiceLevel string          `json:"serviceLevel,omitempty" doc:"the present one, or the first that offers what is asked, when not given"`
		Quality      *QualityRequest `json:"quality,omitempty"`
	}
}

func (h *handlers) setPolicy(ctx context.Context, in *policyBody) (*out[VVol], error) {
	v, err := h.o.Service.Find(in.ID)
	if err != nil {
		return nil, problem(err)
	}
	v, err = h.o.Service.AdjustPolicy(ctx, v.ID, in.Body.Quality.spec(in.Body.ServiceLevel))
	return h.described(ctx, v, err)
}

func (h *handlers) compliance(ctx context.Context, in *ref) (*out[Compliance], error) {
	v, err := h.o.Service.Find(in.ID)
	if err != nil {
		return nil, problem(err)
	}
	c, err := h.o.Service.Compliance(ctx, v.ID)
	if err != nil {
		return nil, problem(err)
	}
	return &out[Compliance]{c}, nil
}

type createBody struct {
	Body struct {
		Container    string            `json:"container"`
		SizeBytes    uint64            `json:"sizeBytes"`
		Type         string            `json:"type,omitempty" enum:"Config,Data,Swap,Memory,Other"`
		Name         string            `json:"name,omitempty"`
		ServiceLevel string            `json:"serviceLevel,omitempty"`
		Quality      *QualityRequest   `json:"quality,omitempty"`
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
		PolicySpec: b.Quality.spec(b.ServiceLevel), Metadata: b.Metadata})
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
