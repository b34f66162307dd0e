package vasa

import (
	"context"

	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// bitmapOperations are the operations of vasa.md 2.6 about parts of a VVol.
func (p *Provider) bitmapOperations() map[string]handler {
	return map[string]handler{
		"allocatedBitmapVirtualVolume": answers(p.allocatedBitmapVirtualVolume),
		"unsharedBitmapVirtualVolume":  answers(p.unsharedBitmapVirtualVolume),
		"unsharedChunksVirtualVolume":  answers(p.unsharedChunksVirtualVolume),
	}
}

// Limits of bitmaps.
const (
	maxChunks   = 32 << 20 // bits of one bitmap: 4 MiB, and a third more as base64
	ownChunk    = 64 << 10 // bytes; of unsharedChunksVirtualVolume
	bitsPerByte = 8
)

// segment is a part of a VVol in chunks; the last one may be short.
type segment struct {
	start, length, chunk uint64
}

func (s segment) chunks() uint64 { return (s.length + s.chunk - 1) / s.chunk }

// segmentOf checks a part of a VVol: it must lie within.
func segmentOf(v vvol.VirtualVolume, start, length, chunk int64) (segment, error) {
	switch {
	case start < 0 || length <= 0 || chunk <= 0:
		return segment{}, invalid("offset %d must not be negative, length %d and chunk size %d be positive", start, length, chunk)
	case uint64(start) > v.Size || uint64(length) > v.Size-uint64(start):
		return segment{}, invalid("offset %d and length %d reach beyond the end at %d", start, length, v.Size)
	}
	return segment{uint64(start), uint64(length), uint64(chunk)}, nil
}

// mark calls set with the first and last chunk of each range of a VVol in the segment.
func (p *Provider) mark(ctx context.Context, v vvol.VirtualVolume, kind vvol.RangeKind, base *vvol.ID, s segment, set func(first, last uint64)) error {
	for r, err := range p.o.Service.Ranges(ctx, v.ID, kind, base, s.start) {
		if err != nil {
			return err
		}
		if r.Offset >= s.start+s.length {
			break
		}
		from, to := max(r.Offset, s.start), min(r.Offset+r.Length, s.start+s.length)
		if from < to {
			set((from-s.start)/s.chunk, (to-1-s.start)/s.chunk)
		}
	}
	return nil
}

// bitmap has a bit for each chunk of a segment that has something of a kind; of too many it is
// refused.
func (p *Provider) bitmap(ctx context.Context, v vvol.VirtualVolume, kind vvol.RangeKind, base *vvol.ID, s segment) (wire.VirtualVolumeBitmapResult, error) {
	if n := s.chunks(); n > maxChunks {
		return wire.VirtualVolumeBitmapResult{}, invalid("%d chunks, at most %d", n, maxChunks)
	}
	bits := make([]byte, (s.chunks()+bitsPerByte-1)/bitsPerByte)
	msbFirst := p.o.Knobs().MSBFirst
	err := p.mark(ctx, v, kind, base, s, func(first, last uint64) {
		for i := first; i <= last; i++ {
			setBit(bits, i, msbFirst)
		}
	})
	return wire.VirtualVolumeBitmapResult{ChunkBitmap: bits}, err
}

// setBit is the one place that knows the order of bits (vasa.md 13).
func setBit(bits []byte, i uint64, msbFirst bool) {
	if msbFirst {
		bits[i/bitsPerByte] |= 0x80 >> (i % bitsPerByte)
	} else {
		bits[i/bitsPerByte] |= 1 << (i % bitsPerByte)
	}
}

func (p *Provider) allocatedBitmapVirtualVolume(ctx context.Context, _ *caller, q *wire.AllocatedBitmapVirtualVolume) (*wire.AllocatedBitmapVirtualVolumeResponse, error) {
	v, err := p.volume(q.VVolID)
	if err != nil {
		return nil, err
	}
	s, err := segmentOf(v, q.SegmentStartOffsetBytes, q.SegmentLengthBytes, q.ChunkSizeBytes)
	if err != nil {
		return nil, err
	}
	b, err := p.bitmap(ctx, v, vvol.Allocated, nil, s)
	if err != nil {
		return nil, err
	}
	return &wire.AllocatedBitmapVirtualVolumeResponse{Return: b}, nil
}

// related checks that two VVols are, which comes before the range (vasa.md 10).
func (p *Provider) related(ctx context.Context, v vvol.VirtualVolume, base string) (*vvol.ID, error) {
	b, err := p.volume(base)
	if err != nil {
		return nil, err
	}
	for _, err := range p.o.Service.Ranges(ctx, v.ID, vvol.Different, &b.ID, 0) {
		return &b.ID, err
	}
	return &b.ID, nil
}

func (p *Provider) unsharedBitmapVirtualVolume(ctx context.Context, _ *caller, q *wire.UnsharedBitmapVirtualVolume) (*wire.UnsharedBitmapVirtualVolumeResponse, error) {
	v, err := p.volume(q.VVolID)
	if err != nil {
		return nil, err
	}
	base, err := p.related(ctx, v, q.BaseVVolID)
	if err != nil {
		return nil, err
	}
	s, err := segmentOf(v, q.SegmentStartOffsetBytes, q.SegmentLengthBytes, q.ChunkSizeBytes)
	if err != nil {
		return nil, err
	}
	b, err := p.bitmap(ctx, v, vvol.Different, base, s)
	if err != nil {
		return nil, err
	}
	return &wire.UnsharedBitmapVirtualVolumeResponse{Return: b}, nil
}

func (p *Provider) unsharedChunksVirtualVolume(ctx context.Context, _ *caller, q *wire.UnsharedChunksVirtualVolume) (*wire.UnsharedChunksVirtualVolumeResponse, error) {
	v, err := p.volume(q.VVolID)
	if err != nil {
		return nil, err
	}
	kind, base := vvol.Unshared, (*vvol.ID)(nil)
	if value(q.BaseVVolID) != "" {
		kind = vvol.Different
		if base, err = p.related(ctx, v, *q.BaseVVolID); err != nil {
			return nil, err
		}
	}
	s, err := segmentOf(v, q.SegmentStartOffsetBytes, q.SegmentLengthBytes, ownChunk)
	if err != nil {
		return nil, err
	}
	n, next := uint64(0), uint64(0) // next: the first chunk that was not counted
	err = p.mark(ctx, v, kind, base, s, func(first, last uint64) {
		if first = max(first, next); first <= last {
			n, next = n+last-first+1, last+1
		}
	})
	if err != nil {
		return nil, err
	}
	return &wire.UnsharedChunksVirtualVolumeResponse{Return: wire.VirtualVolumeUnsharedChunksResult{ChunkSizeBytes: ownChunk,
		ScannedChunks: int64(s.chunks()), UnsharedChunks: int64(n)}}, nil
}
