package vasa

import (
	"context"

	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// volumeOperations are the operations of vasa.md 2.6, snapshots and bitmaps apart.
func (p *Provider) volumeOperations() map[string]handler {
	return map[string]handler{
		"createVirtualVolume":         answers(p.createVirtualVolume),
		"cloneVirtualVolume":          answers(p.cloneVirtualVolume),
		"fastCloneVirtualVolume":      answers(p.fastCloneVirtualVolume),
		"copyDiffsToVirtualVolume":    answers(p.copyDiffsToVirtualVolume),
		"resizeVirtualVolume":         answers(p.resizeVirtualVolume),
		"deleteVirtualVolume":         obeys(p.deleteVirtualVolume),
		"updateVirtualVolumeMetaData": obeys(p.updateVirtualVolumeMetaData),
		"queryVirtualVolume":          answers(p.queryVirtualVolume),
		"queryVirtualVolumeInfo":      answers(p.queryVirtualVolumeInfo),
		"spaceStatsForVirtualVolume":  answers(p.spaceStatsForVirtualVolume),
	}
}

// Metadata keys that the provider reads (vasa.md 6).
const (
	keyName    = "VMW_VVolName"
	keyProfile = "VMW_VvolProfile"
)

// sizeOf checks a size in MB and gives it in bytes.
func (p *Provider) sizeOf(mb int64) (uint64, error) {
	if limit := p.maxVVolSize(); mb <= 0 || mb > limit {
		return 0, invalid("a size of %d MB is not in 1 to %d", mb, limit)
	}
	return uint64(mb) * mib, nil
}

func (p *Provider) maxVVolSize() int64 {
	if mb := p.o.Knobs().MaxVVolSizeMB; mb > 0 {
		return mb
	}
	return DefaultMaxVVolSizeMB
}

// metadataOf reads the metadata of something new: each pair has a name, and one without
// a value is an empty text.
func metadataOf(pairs []wire.NameValuePair) (map[string]string, error) {
	m := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		if value(pair.ParameterName) == "" {
			return nil, invalid("a metadata key is empty")
		}
		m[*pair.ParameterName] = value(pair.ParameterValue)
	}
	return m, nil
}

func (p *Provider) createVirtualVolume(ctx context.Context, _ *caller, q *wire.CreateVirtualVolume) (*wire.CreateVirtualVolumeResponse, error) {
	k, err := p.container(q.ContainerID)
	if err != nil {
		return nil, err
	}
	if !wire.Valid(q.VVolType) {
		return nil, invalid("vvolType %q is none of the contract's", q.VVolType)
	}
	size, err := p.sizeOf(q.SizeInMB)
	if err != nil {
		return nil, err
	}
	metadata, err := metadataOf(q.Metadata)
	if err != nil {
		return nil, err
	}
	policy, err := p.policySpec(q.StorageProfile, k)
	if err != nil {
		return nil, err
	}
	withProfile(metadata, policy.Policy)
	t, err := p.watched(ctx, "createVirtualVolume", vvol.ID{}, func(ctx context.Context) error {
		_, err := p.o.Service.Create(ctx, vvol.CreateSpec{Container: k.ID.String(), Size: size, Type: vvol.Type(q.VVolType),
			Name: metadata[keyName], Metadata: metadata, PolicySpec: policy})
		return err
	})
	if err != nil {
		return nil, err
	}
	return &wire.CreateVirtualVolumeResponse{Return: t}, nil
}

// cloneSpec is what both kinds of clones have in common; in is the id of the clone's
// container.
func (p *Provider) cloneSpec(in string, profile wire.AnyProfile, pairs []wire.NameValuePair) (vvol.CloneSpec, error) {
	k, err := p.container(in)
	if err != nil {
		return vvol.CloneSpec{}, err
	}
	metadata, err := metadataOf(pairs)
	if err != nil {
		return vvol.CloneSpec{}, err
	}
	policy, err := p.policySpec(profile, k)
	if err != nil {
		return vvol.CloneSpec{}, err
	}
	withProfile(metadata, policy.Policy)
	return vvol.CloneSpec{Container: in, Name: metadata[keyName], Metadata: metadata, PolicySpec: policy}, nil
}

func (p *Provider) cloneVirtualVolume(ctx context.Context, _ *caller, q *wire.CloneVirtualVolume) (*wire.CloneVirtualVolumeResponse, error) {
	v, err := p.volume(q.VVolID)
	if err != nil {
		return nil, err
	}
	in := v.Container.String()
	if value(q.NewContainerID) != "" {
		in = *q.NewContainerID
	}
	spec, err := p.cloneSpec(in, q.NewProfile, q.Metadata)
	if err != nil {
		return nil, err
	}
	t, err := p.watched(ctx, "cloneVirtualVolume", v.ID, func(ctx context.Context) error {
		_, err := p.o.Service.Clone(ctx, v.ID, spec)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &wire.CloneVirtualVolumeResponse{Return: t}, nil
}

func (p *Provider) fastCloneVirtualVolume(ctx context.Context, _ *caller, q *wire.FastCloneVirtualVolume) (*wire.FastCloneVirtualVolumeResponse, error) {
	v, err := p.volume(q.VVolID)
	if err != nil {
		return nil, err
	}
	spec, err := p.cloneSpec(v.Container.String(), q.NewProfile, q.Metadata)
	if err != nil {
		return nil, err
	}
	t, err := p.watched(ctx, "fastCloneVirtualVolume", v.ID, func(ctx context.Context) error {
		_, err := p.o.Service.FastClone(ctx, v.ID, spec)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &wire.FastCloneVirtualVolumeResponse{Return: t}, nil
}

func (p *Provider) copyDiffsToVirtualVolume(ctx context.Context, _ *caller, q *wire.CopyDiffsToVirtualVolume) (*wire.CopyDiffsToVirtualVolumeResponse, error) {
	src, err := p.volume(q.SrcVVolID)
	if err != nil {
		return nil, err
	}
	base, err := p.related(ctx, src, q.SrcBaseVVolID)
	if err != nil {
		return nil, err
	}
	dst, err := p.volume(q.DstVVolID)
	if err != nil {
		return nil, err
	}
	t, err := p.goesOn(ctx, "copyDiffsToVirtualVolume", func(ctx context.Context) error {
		return p.o.Service.CopyDiffs(ctx, src.ID, *base, dst.ID)
	})
	if err != nil {
		return nil, err
	}
	return &wire.CopyDiffsToVirtualVolumeResponse{Return: t}, nil
}

func (p *Provider) resizeVirtualVolume(ctx context.Context, _ *caller, q *wire.ResizeVirtualVolume) (*wire.ResizeVirtualVolumeResponse, error) {
	v, err := p.volume(q.VVolID)
	if err != nil {
		return nil, err
	}
	size, err := p.sizeOf(q.SizeInMB)
	if err != nil {
		return nil, err
	}
	t, err := p.watched(ctx, "resizeVirtualVolume", v.ID, func(ctx context.Context) error {
		_, err := p.o.Service.Resize(ctx, v.ID, size)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &wire.ResizeVirtualVolumeResponse{Return: t}, nil
}

// deleteVirtualVolume takes prepared snapshots too: a host gives up what it did not take.
func (p *Provider) deleteVirtualVolume(ctx context.Context, _ *caller, q *wire.DeleteVirtualVolume) error {
	id, err := volumeID(q.VVolID)
	if err != nil {
		return err
	}
	return p.o.Service.Delete(ctx, id)
}

// updateVirtualVolumeMetaData sets the pairs with a value and removes those without.
func (p *Provider) updateVirtualVolumeMetaData(ctx context.Context, _ *caller, q *wire.UpdateVirtualVolumeMetaData) error {
	id, err := volumeID(q.VVolID)
	if err != nil {
		return err
	}
	spec := vvol.UpdateSpec{Metadata: make(map[string]*string, len(q.KeyValuePair))}
	if len(q.KeyValuePair) == 0 {
		return invalid("keyValuePair is empty")
	}
	for _, pair := range q.KeyValuePair {
		if value(pair.ParameterName) == "" {
			return invalid("a metadata key is empty")
		}
		spec.Metadata[*pair.ParameterName] = pair.ParameterValue
		if *pair.ParameterName == keyName {
			spec.Name = new(value(pair.ParameterValue))
		}
	}
	_, err = p.o.Service.Update(ctx, id, spec)
	return err
}

// queryVirtualVolume finds the VVols whose metadata match all constraints (vasa.md 6).
func (p *Provider) queryVirtualVolume(_ context.Context, _ *caller, q *wire.QueryVirtualVolume) (*wire.QueryVirtualVolumeResponse, error) {
	f, r := vvol.Filter{Metadata: map[string]string{}}, &wire.QueryVirtualVolumeResponse{}
	if len(q.SearchConstraint) == 0 {
		return nil, invalid("searchConstraint is empty")
	}
	for _, c := range q.SearchConstraint {
		if c.Key == "" {
			return nil, invalid("the key of a constraint is empty")
		}
		if c.Value == nil {
			f.HasKeys = append(f.HasKeys, c.Key)
			continue
		}
		if other, twice := f.Metadata[c.Key]; twice && other != *c.Value {
			return r, nil // no key has two values
		}
		f.Metadata[c.Key] = *c.Value
	}
	for _, v := range p.o.Service.VVols(f) {
		r.Return = append(r.Return, v.ID.String())
	}
	return r, nil
}

// known are the VVols with these ids, without those that are unknown, not taken yet or
// malformed: batch queries pass over them (vasa.md 2.6).
func (p *Provider) known(ids []string) (list []vvol.VirtualVolume) {
	for _, s := range ids {
		if v, err := p.volume(s); err == nil {
			list = append(list, v)
		}
	}
	return list
}

func (p *Provider) queryVirtualVolumeInfo(_ context.Context, _ *caller, q *wire.QueryVirtualVolumeInfo) (*wire.QueryVirtualVolumeInfoResponse, error) {
	if err := p.checkBatch(len(q.VVolID)); err != nil {
		return nil, err
	}
	r := &wire.QueryVirtualVolumeInfoResponse{}
	for _, v := range p.known(q.VVolID) {
		r.Return = append(r.Return, volumeInfo(v))
	}
	return r, nil
}

func (p *Provider) spaceStatsForVirtualVolume(ctx context.Context, _ *caller, q *wire.SpaceStatsForVirtualVolume) (*wire.SpaceStatsForVirtualVolumeResponse, error) {
	if err := p.checkBatch(len(q.VVolID)); err != nil {
		return nil, err
	}
	r := &wire.SpaceStatsForVirtualVolumeResponse{}
	for _, v := range p.known(q.VVolID) {
		if s, err := p.spaceStats(ctx, v); err == nil { // deleted meanwhile otherwise
			r.Return = append(r.Return, s)
		} else if ctx.Err() != nil {
			return nil, err
		}
	}
	return r, nil
}
