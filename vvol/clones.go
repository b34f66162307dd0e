package vvol

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"

	"vvsim/vvol/store"
)

// CloneSpec describes a clone. Metadata is its own, the source's is not copied.
type CloneSpec struct {
	Name       string
	Container  string // name or id; default the source's (FastClone allows no other)
	Metadata   map[string]string
	ID         ID // default: a new random one
	PolicySpec    // asking for nothing: in its container the source's level, quality and policy, where that level still offers them; else the first level
}

// Clone makes a writable volume with the present content of a volume, which has
// no parent in the catalog. The engine shares what it can. Errors: ErrNotFound,
// ErrInvalid, ErrExists, ErrTooMany, ErrTooManySnapshots (chain too deep), ErrNoSpace.
func (s *Service) Clone(ctx context.Context, id ID, spec CloneSpec) (VirtualVolume, error) {
	return s.clone(ctx, "clone", id, spec)
}

// FastClone is Clone in the same container with the source as parent. Errors as
// Clone; ErrInvalid when spec names another container.
func (s *Service) FastClone(ctx context.Context, id ID, spec CloneSpec) (VirtualVolume, error) {
	return s.clone(ctx, "fast-clone", id, spec)
}

func (s *Service) clone(ctx context.Context, operation string, id ID, spec CloneSpec) (VirtualVolume, error) {
	var err error
	if spec.ID == (ID{}) {
		if spec.ID, err = s.newID(); err != nil {
			return VirtualVolume{}, err
		}
	}
	rows, unlock, err := s.lockVolumes(ctx, []ID{id}, []ID{spec.ID})
	if err != nil {
		return VirtualVolume{}, err
	}
	defer unlock()
	source := rows[0]
	row, err := s.cloneRow(source, spec)
	if err != nil {
		return VirtualVolume{}, err
	}
	if operation == "fast-clone" {
		if row.Container != source.Container {
			return VirtualVolume{}, fmt.Errorf("%w: a fast clone into another container", ErrInvalid)
		}
		row.Parent = id
	}
	made, err := s.birth(ctx, operation, []*volumeRow{row}, func(ctx context.Context) error {
		if err := s.reserveShared(ctx, source); err != nil {
			return err
		}
		return s.options.Engine.Clone(ctx, store.ID(id), store.ID(row.ID), row.poolOf())
	})
	s.remeasure(ctx, source) // of the worst case that was reserved, what is not needed goes back
	if err != nil {
		return VirtualVolume{}, err
	}
	return made[0], nil
}

func (s *Service) cloneRow(source *volumeRow, spec CloneSpec) (*volumeRow, error) {
	if source.State != Ready {
		return nil, fmt.Errorf("%w: vvol %v is %s", ErrInvalid, source.ID, source.State)
	}
	k, err := s.containerByID(source.Container)
	if err != nil {
		return nil, err
	}
	if spec.Container != "" {
		if k, err = s.containerRow(spec.Container); err != nil {
			return nil, err
		}
	}
	row := &volumeRow{VirtualVolume: VirtualVolume{ID: spec.ID, Name: spec.Name, Type: source.Type, Container: k.ID,
		Size: source.Size, Metadata: maps.Clone(spec.Metadata)}}
	if err := s.prepareBirth(row); err != nil {
		return nil, err
	}
	var first []ServiceLevel
	if k.ID == source.Container {
		if spec.PolicySpec == (PolicySpec{}) && row.inherit(source, k, false) {
			return row, nil
		}
		if l, err := k.level(source.ServiceLevel); err == nil {
			first = []ServiceLevel{l}
		}
	}
	level, quality, err := k.choose(spec.PolicySpec, false, first...)
	row.grade(level, quality, spec.Policy)
	return row, err
}

// Resize sets the size. Growth reads as zeros. Errors: ErrNotFound, ErrInvalid,
// ErrInUse (shrinking while bound or mapped), ErrUnsupported (read-only), ErrNoSpace, ErrBusy.
func (s *Service) Resize(ctx context.Context, id ID, size uint64) (VirtualVolume, error) {
	if err := s.checkSize(size, s.limits.MaxSize); err != nil {
		return VirtualVolume{}, err
	}
	row, unlock, err := s.lockReady(ctx, id)
	if err != nil {
		return VirtualVolume{}, err
	}
	defer unlock()
	if size == row.Size {
		return row.copyOut(), nil
	}
	switch {
	case row.ReadOnly || row.State != Ready:
		return VirtualVolume{}, fmt.Errorf("%w: resizing %v, which is read-only", ErrUnsupported, id)
	case size < row.Size && s.reachable(id):
		return VirtualVolume{}, fmt.Errorf("%w: shrinking %v, which is bound or mapped", ErrInUse, id)
	}
	if err := s.unpinned(id); err != nil {
		return VirtualVolume{}, err
	}
	task, next := s.newTask(ctx, "resize", id), *row
	next.State, next.Intent = Resizing, &intent{Task: task.Number, Size: size}
	if err := s.commit(ctx, new(batch).put(&next, task)); err != nil {
		return VirtualVolume{}, err
	}
	if row.thick() {
		// share counts the larger of both sizes.
		if err := s.reserve(ctx, row.Container, row.Pool, s.share(ctx, row.Pool, false)); err != nil {
			return VirtualVolume{}, s.abandon(ctx, &next, err)
		}
	}
	if err := s.settle(ctx, &next); err != nil {
		return VirtualVolume{}, err
	}
	return s.VVol(id)
}

// Ranges yields ranges of a volume as store.Object.Ranges does; base is needed
// for store.Different only. An error ends the sequence as its last element:
// ErrNotFound, ErrIncompatible (base is not related), ErrInvalid.
func (s *Service) Ranges(ctx context.Context, id ID, kind store.RangeKind, base *ID, from uint64) iter.Seq2[store.Range, error] {
	return func(yield func(store.Range, error) bool) {
		var against store.ID
		v, err := s.content(id)
		if err == nil && kind == store.Different {
			if base == nil {
				err = fmt.Errorf("%w: no base to compare with", ErrInvalid)
			} else if _, err = s.content(*base); err == nil {
				against = store.ID(*base)
			}
		}
		if err == nil && from > v.Size {
			err = fmt.Errorf("%w: offset %d of a volume of %d bytes", ErrInvalid, from, v.Size)
		}
		if err != nil {
			yield(store.Range{}, err)
			return
		}
		object, err := s.options.Engine.Open(ctx, store.ID(id))
		if err != nil {
			yield(store.Range{}, translate(err))
			return
		}
		defer object.Close() // nothing was written through it
		for r, err := range object.Ranges(ctx, kind, against, from) {
			if err != nil {
				yield(store.Range{}, rangeError(kind, err))
				return
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

func rangeError(kind store.RangeKind, err error) error {
	if kind == store.Different {
		return unrelated(err)
	}
	return translate(err)
}

// content returns a volume that has one.
func (s *Service) content(id ID) (VirtualVolume, error) {
	v, err := s.VVol(id)
	if err == nil && v.State == Prepared {
		err = fmt.Errorf("%w: snapshot %v was not taken yet", ErrNotFound, id)
	}
	return v, err
}

// CopyDiffs copies to dst what differs between src and base. It holds no lock
// while it copies: I/O, bind and unbind go on; deleting, reverting and resizing
// the three are refused meanwhile. Cancelling ctx ends it with dst partly
// written. Errors: ErrNotFound, ErrIncompatible (src and base are not related),
// ErrInvalid (dst too small or one of them), ErrUnsupported (dst read-only), ErrNoSpace.
func (s *Service) CopyDiffs(ctx context.Context, src, base, dst ID) error {
	end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	unpin, size, err := s.pinForCopy(ctx, src, base, dst)
	if err != nil {
		return err
	}
	defer unpin()
	task := s.newTask(ctx, "copy-diffs", dst)
	if err := s.commit(ctx, new(batch).put(task)); err != nil {
		return err
	}
	announce(ctx)
	copied := s.copyDiffs(ctx, src, base, dst, size, task.Number)
	b := new(batch).event("vvol.copied", dst.String(), fmt.Sprintf("what %v has over %v", src, base))
	if copied != nil {
		b.events = nil
	}
	s.endTask(b, task.Number, "", copied)
	if err := s.commit(context.WithoutCancel(ctx), b); err != nil { // a cancelled task has its end too
		return errors.Join(copied, err)
	}
	return copied
}

func (s *Service) pinForCopy(ctx context.Context, src, base, dst ID) (unpin func(), size uint64, err error) {
	if dst == src || dst == base {
		return nil, 0, fmt.Errorf("%w: %v is both source and destination", ErrInvalid, dst)
	}
	rows, unlock, err := s.lockVolumes(ctx, []ID{src, base, dst}, nil)
	if err != nil {
		return nil, 0, err
	}
	defer unlock()
	for _, r := range rows {
		if r.State != Ready {
			return nil, 0, fmt.Errorf("%w: vvol %v is %s", ErrInvalid, r.ID, r.State)
		}
	}
	switch to := rows[2]; {
	case to.ReadOnly:
		return nil, 0, fmt.Errorf("%w: copying to %v, which is read-only", ErrUnsupported, dst)
	case to.Size < rows[0].Size:
		return nil, 0, fmt.Errorf("%w: %v has %d bytes, the source %d", ErrInvalid, dst, to.Size, rows[0].Size)
	}
	return s.pin(src, base, dst), rows[0].Size, nil
}

func (s *Service) copyDiffs(ctx context.Context, src, base, dst ID, size, task uint64) error {
	from, err := s.options.Engine.Open(ctx, store.ID(src))
	if err != nil {
		return translate(err)
	}
	defer from.Close() // read only
	to, err := s.options.Engine.Open(ctx, store.ID(dst))
	if err != nil {
		return translate(err)
	}
	defer to.Close() // flushed before
	for r, err := range from.Ranges(ctx, store.Different, store.ID(base), 0) {
		if err != nil {
			return unrelated(err)
		}
		for r.Length > 0 {
			n := min(r.Length, copyChunk)
			if err := to.CopyFrom(ctx, r.Offset, from, r.Offset, n); err != nil {
				return translate(err)
			}
			r.Offset, r.Length = r.Offset+n, r.Length-n
			s.progress(task, r.Offset, size)
		}
	}
	return translate(to.Flush(ctx))
}
