package scenario

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/api"
	"vvsim/array"
	"vvsim/scsi/iscsi/initiator"
	"vvsim/vasa/vasatest"
	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// Sizes of TestProviderModel; VVSIM_MODEL_STEPS and VVSIM_MODEL_SEED replace two of them.
const (
	modelSteps   = 100
	modelVVols   = 12
	modelHosts   = 2
	modelMaxMB   = 3
	modelBlock   = 4096 // what is shared and allocated, in bytes
	modelLogical = 512  // of SCSI
	modelMB      = 1 << 20

	modelContainerMB = 256 // which the volumes never fill, with all that they may reserve
)

// TestProviderModel has two hosts make, change and delete thin and thick VVols over SOAP, write,
// unmap and copy them over SCSI, each with a certificate and an initiator of its own and the same
// VVols and others bound, and restarts the array, all at random, and compares content, bitmaps and
// space with a model in memory.
func TestProviderModel(t *testing.T) {
	steps, seed := modelSteps, rand.Uint64()
	for name, set := range map[string]func(n uint64){"VVSIM_MODEL_STEPS": func(n uint64) { steps = int(n) }, "VVSIM_MODEL_SEED": func(n uint64) { seed = n }} {
		if s := os.Getenv(name); s != "" {
			n, err := strconv.ParseUint(s, 10, 64)
			require.NoError(t, err, name)
			set(n)
		}
	}
	t.Logf("VVSIM_MODEL_SEED=%d, %d steps", seed, steps)
	l := newLab(t, t.TempDir(), func(c *array.Config) { c.VASA.UnsharedValid = true })
	s := newSite(l)
	s.container = call[api.Container](l, "POST", "/api/v1/containers", map[string]any{"name": "model", "sizeBytes": modelContainerMB * modelMB,
		"serviceLevels": []vvol.ServiceLevel{{Name: "thin", Thin: true}, {Name: "thick"}}}, http.StatusCreated).ID
	m := &model{t: t, site: s, ctx: t.Context(), r: rand.New(rand.NewPCG(seed, 0)), all: map[string]*volume{}}
	m.connect()
	for step := range steps {
		m.log = fmt.Sprintf("seed %d, step %d", seed, step)
		m.step()
		m.compare(m.any(anyone))
		m.balance()
	}
	m.log = fmt.Sprintf("seed %d, at the end", seed)
	m.restart()
	for _, id := range m.order {
		m.compare(m.all[id])
	}
	m.empty()
}

// model is what the array has to hold.
type model struct {
	t      *testing.T
	site   *site
	ctx    context.Context
	hosts  [modelHosts]modelHost
	r      *rand.Rand
	log    string // where we are
	all    map[string]*volume
	order  []string // of all, so that the seed decides
	births uint64   // of blocks and families
}

// modelHost is a host with its two ways to the array.
type modelHost struct {
	*vasatest.Client
	session *initiator.Session
}

// block is one of a volume. Equal births are the same block, shared; 0 is one that was never
// written and is a hole.
type block struct {
	birth     uint64
	allocated bool
}

// volume is a VVol as it has to be.
type volume struct {
	id       string
	family   uint64
	source   string // of a snapshot
	readOnly bool
	level    string // of service, which clones inherit
	content  []byte
	blocks   []block
	bound    [modelHosts]*modelBinding // nil: that host has it not
}

// modelBinding is how a host reaches a volume.
type modelBinding struct {
	handle wire.VirtualVolumeHandle
	unit   *initiator.Unit
}

func (m *model) birth() uint64 { m.births++; return m.births }

// any is one of the volumes that fit; nil: none does.
func (m *model) any(fits func(*volume) bool) *volume {
	var list []*volume
	for _, id := range m.order {
		if fits(m.all[id]) {
			list = append(list, m.all[id])
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[m.r.IntN(len(list))]
}

func anyone(*volume) bool { return true }

func writable(v *volume) bool { return !v.readOnly }

func (m *model) add(v *volume) { m.all[v.id], m.order = v, append(m.order, v.id) }

// copyOf is a volume that shares all blocks with v.
func (m *model) copyOf(v *volume, id string) *volume {
	return &volume{id: id, family: v.family, level: v.level, content: slices.Clone(v.content), blocks: slices.Clone(v.blocks)}
}

func (m *model) no(err error) { m.t.Helper(); require.NoError(m.t, err, m.log) }

// step does one thing.
func (m *model) step() {
	if len(m.order) < 2 {
		m.create()
		return
	}
	if len(m.order) >= modelVVols {
		m.delete(m.any(anyone))
		return
	}
	switch n := m.r.IntN(100); {
	case n < 5:
		m.create()
	case n < 15:
		m.snapshot(m.any(anyone))
	case n < 25:
		m.clone(m.any(anyone), n < 20)
	case n < 32:
		m.delete(m.any(anyone))
	case n < 39:
		m.revert(m.any(func(v *volume) bool { return v.source != "" && m.all[v.source] != nil && !m.all[v.source].readOnly }))
	case n < 46:
		m.resize(m.any(writable))
	case n < 55:
		m.copyDiffs(m.any(writable))
	case n < 58:
		m.convert(m.any(writable))
	case n < 60:
		m.restart()
	case n < 62:
		m.tooMuch()
	case n < 76:
		m.write(m.any(writable))
	case n < 81:
		m.writeSame(m.any(writable))
	case n < 86:
		m.compareAndWrite(m.any(writable))
	case n < 91:
		m.unmap(m.any(writable))
	case n < 97:
		m.extendedCopy(m.any(anyone), m.any(writable))
	default:
		m.unbind(m.any(func(v *volume) bool { return v.bound != [modelHosts]*modelBinding{} }))
	}
}

func (m *model) create() {
	mb, level := 1+m.r.Int64N(modelMaxMB), []string{"thin", "thick"}[m.r.IntN(2)]
	id, err := m.site.createAs(m.ctx, m.host(), m.profile(level), mb, "VMW_VVolName", "model")
	m.no(err)
	m.add(&volume{id: id, family: m.birth(), level: level, content: make([]byte, mb*modelMB), blocks: make([]block, mb*modelMB/modelBlock)})
}

func (m *model) snapshot(v *volume) {
	id, err := m.site.prepare(m.ctx, m.host(), v.id)
	m.no(err)
	m.no(m.site.take(m.ctx, m.host(), id))
	snapshot := m.copyOf(v, id)
	snapshot.source, snapshot.readOnly = v.id, true
	m.add(snapshot)
}

func (m *model) clone(v *volume, fast bool) {
	metadata := pairs([]string{"VMW_VVolName", "clone"})
	var t wire.TaskInfo
	if fast {
		r, err := vasatest.Do[wire.FastCloneVirtualVolumeResponse](m.ctx, m.host(), &wire.FastCloneVirtualVolume{VVolID: v.id, Metadata: metadata})
		m.no(err)
		t = r.Return
	} else {
		r, err := vasatest.Do[wire.CloneVirtualVolumeResponse](m.ctx, m.host(), &wire.CloneVirtualVolume{VVolID: v.id, Metadata: metadata})
		m.no(err)
		t = r.Return
	}
	id, err := resultOf(t)
	m.no(err)
	m.add(m.copyOf(v, id))
}

// release takes a volume from all hosts.
func (m *model) release(v *volume) {
	for i := range v.bound {
		m.releaseFrom(v, i)
	}
}

func (m *model) delete(v *volume) {
	m.release(v)
	m.no(m.site.delete(m.ctx, m.host(), v.id))
	delete(m.all, v.id)
	m.order = slices.DeleteFunc(m.order, func(id string) bool { return id == v.id })
}

func (m *model) revert(snapshot *volume) {
	if snapshot == nil {
		return
	}
	v := m.all[snapshot.source]
	_, err := vasatest.Do[wire.RevertVirtualVolumeResponse](m.ctx, m.host(), &wire.RevertVirtualVolume{VVolID: v.id, SnapshotVVolID: snapshot.id})
	m.no(err)
	v.content, v.blocks = slices.Clone(snapshot.content), slices.Clone(snapshot.blocks)
}

func (m *model) resize(v *volume) {
	if v == nil {
		return
	}
	mb := 1 + m.r.IntN(modelMaxMB)
	size, count := mb*modelMB, mb*modelMB/modelBlock
	if size < len(v.content) {
		m.release(v)
	}
	_, err := vasatest.Do[wire.ResizeVirtualVolumeResponse](m.ctx, m.host(), &wire.ResizeVirtualVolume{VVolID: v.id, SizeInMB: int64(mb)})
	m.no(err)
	v.content, v.blocks = slices.Clone(v.content[:min(size, len(v.content))]), v.blocks[:min(count, len(v.blocks))]
	v.content = append(v.content, make([]byte, size-len(v.content))...)
	for len(v.blocks) < count {
		v.blocks = append(v.blocks, block{birth: m.birth()})
	}
}

// copyDiffs copies what the array says differs, which compare has found to be right.
func (m *model) copyDiffs(dst *volume) {
	if dst == nil {
		return
	}
	src := m.any(func(v *volume) bool { return v != dst && len(v.content) <= len(dst.content) })
	if src == nil {
		return
	}
	base := m.any(func(v *volume) bool { return v != src && v != dst && v.family == src.family })
	if base == nil {
		return
	}
	bits := m.unshared(src, base)
	r, err := vasatest.Do[wire.CopyDiffsToVirtualVolumeResponse](m.ctx, m.host(), &wire.CopyDiffsToVirtualVolume{SrcVVolID: src.id, SrcBaseVVolID: base.id, DstVVolID: dst.id})
	m.no(err)
	for t := r.Return; t.TaskState != wire.TaskStateSuccess; {
		require.Contains(m.t, []wire.TaskState{wire.TaskStateRunning, wire.TaskStateQueued}, t.TaskState, m.log)
		<-time.After(time.Millisecond)
		u, err := vasatest.Do[wire.GetTaskUpdateResponse](m.ctx, m.host(), &wire.GetTaskUpdate{TaskID: t.TaskID})
		m.no(err)
		t = u.Return
	}
	for i := range src.blocks {
		if bit(bits, i) {
			copy(dst.content[i*modelBlock:(i+1)*modelBlock], src.content[i*modelBlock:])
			dst.blocks[i] = block{m.birth(), src.blocks[i].allocated}
		}
	}
}

// opened is the logical unit of a volume at any of the hosts, bound if it is not yet.
func (m *model) opened(v *volume) *initiator.Unit { return m.openedAt(v, m.r.IntN(modelHosts)) }

func (m *model) write(v *volume) {
	if v == nil {
		return
	}
	u := m.opened(v)
	first := m.r.IntN(len(v.content) / modelLogical)
	n := min(1+m.r.IntN(256), len(v.content)/modelLogical-first)
	p := m.random(n * modelLogical) // a block of zeros is another matter
	off := first * modelLogical
	_, err := u.WriteAt(m.ctx, p, int64(off), m.r.IntN(4) == 0)
	m.no(err)
	m.written(v, off, p)
}

// written notes what was written.
func (m *model) written(v *volume, off int, p []byte) {
	copy(v.content[off:], p)
	for i := off / modelBlock; i*modelBlock < off+len(p); i++ {
		v.blocks[i] = block{m.birth(), true}
	}
}

func (m *model) unmap(v *volume) {
	if v == nil {
		return
	}
	u := m.opened(v)
	first := m.r.IntN(len(v.blocks))
	n := min(1+m.r.IntN(128), len(v.blocks)-first)
	const per = modelBlock / modelLogical
	if m.r.IntN(3) > 0 {
		m.no(u.Unmap(m.ctx, initiator.Extent{LBA: uint64(first * per), Blocks: uint32(n * per)}))
	} else {
		m.no(u.WriteSame(m.ctx, uint64(first*per), uint32(n*per), make([]byte, modelLogical), true))
	}
	clear(v.content[first*modelBlock : (first+n)*modelBlock])
	for i := first; i < first+n; i++ {
		v.blocks[i] = block{birth: m.birth()}
	}
}

func bit(bits []byte, i int) bool { return bits[i/8]&(1<<(i%8)) != 0 }

// unshared is the array's bitmap of blocks that differ from a base.
func (m *model) unshared(v, base *volume) []byte {
	r, err := vasatest.Do[wire.UnsharedBitmapVirtualVolumeResponse](m.ctx, m.host(), &wire.UnsharedBitmapVirtualVolume{VVolID: v.id, BaseVVolID: base.id,
		SegmentLengthBytes: int64(len(v.content)), ChunkSizeBytes: modelBlock})
	m.no(err)
	require.Len(m.t, r.Return.ChunkBitmap, (len(v.blocks)+7)/8, m.log)
	return r.Return.ChunkBitmap
}

// compare looks at one volume in all ways.
func (m *model) compare(v *volume) {
	m.compareContent(v)
	m.compareAllocated(v)
	m.compareSpace(v)
	for _, other := range m.order {
		if o := m.all[other]; o != v {
			m.compareUnshared(v, o)
		}
	}
}

// compareContent has each host read that has the volume, and one at least.
func (m *model) compareContent(v *volume) {
	one := m.r.IntN(modelHosts)
	for i := range m.hosts {
		if i != one && v.bound[i] == nil {
			continue
		}
		p := make([]byte, len(v.content))
		_, err := m.openedAt(v, i).ReadAt(m.ctx, p, 0)
		m.no(err)
		if !bytes.Equal(v.content, p) {
			at := 0
			for v.content[at] == p[at] {
				at++
			}
			m.t.Fatalf("%s: content of %s at host %d differs at %d", m.log, v.id, i+1, at)
		}
	}
}

// compareAllocated asks for a part, in chunks of some blocks.
func (m *model) compareAllocated(v *volume) {
	chunk := 1 << m.r.IntN(6) // blocks
	first := m.r.IntN(len(v.blocks))
	n := 1 + m.r.IntN(len(v.blocks)-first)
	r, err := vasatest.Do[wire.AllocatedBitmapVirtualVolumeResponse](m.ctx, m.host(), &wire.AllocatedBitmapVirtualVolume{VVolID: v.id,
		SegmentStartOffsetBytes: int64(first) * modelBlock, SegmentLengthBytes: int64(n) * modelBlock, ChunkSizeBytes: int64(chunk) * modelBlock})
	m.no(err)
	want := make([]byte, ((n+chunk-1)/chunk+7)/8)
	for i, b := range v.blocks[first : first+n] {
		if b.allocated {
			want[i/chunk/8] |= 1 << (i / chunk % 8)
		}
	}
	require.Equal(m.t, want, r.Return.ChunkBitmap, "%s: allocated of %s from block %d", m.log, v.id, first)
}

// compareSpace counts blocks: those of the volume, and those that nobody else has. What a thick
// volume reserves and has not written is in none of its figures (docs/vasa.md, Space).
func (m *model) compareSpace(v *volume) {
	shared := map[uint64]bool{}
	for id, o := range m.all {
		for _, b := range o.blocks {
			if id != v.id && b.allocated {
				shared[b.birth] = true
			}
		}
	}
	own := func(i int) bool { return v.blocks[i].allocated && !shared[v.blocks[i].birth] }
	allocated, unshared := 0, 0
	for i, b := range v.blocks {
		if b.allocated {
			allocated += modelBlock
		}
		if own(i) {
			unshared += modelBlock
		}
	}
	chunks, size := m.unsharedChunks(v, nil)
	require.Equal(m.t, marked(len(v.blocks), size/modelBlock, own), chunks, "%s: chunks of %s that nobody else has", m.log, v.id)
	shown := call[api.VVol](m.site.lab, "GET", "/api/v1/vvols/"+v.id, nil, 0)
	require.EqualValues(m.t, allocated, shown.AllocatedBytes, "%s: allocated bytes of %s", m.log, v.id)
	require.EqualValues(m.t, unshared, shown.UnsharedBytes, "%s: unshared bytes of %s", m.log, v.id)
	r, err := vasatest.Do[wire.SpaceStatsForVirtualVolumeResponse](m.ctx, m.host(), &wire.SpaceStatsForVirtualVolume{VVolID: []string{v.id}})
	m.no(err)
	require.Equal(m.t, []wire.SpaceStats{{ObjectID: v.id, Logical: megabytes(len(v.content)), Committed: megabytes(allocated), Unshared: megabytes(unshared), UnsharedValid: true}},
		r.Return, "%s", m.log)
}

// unsharedChunks is the array's count of chunks of a whole volume that differ from a base, or
// that nobody else has, and the bytes of one.
func (m *model) unsharedChunks(v *volume, base *string) (chunks, size int) {
	r, err := vasatest.Do[wire.UnsharedChunksVirtualVolumeResponse](m.ctx, m.host(), &wire.UnsharedChunksVirtualVolume{VVolID: v.id, BaseVVolID: base,
		SegmentLengthBytes: int64(len(v.content))})
	m.no(err)
	size = int(r.Return.ChunkSizeBytes)
	require.EqualValues(m.t, (len(v.content)+size-1)/size, r.Return.ScannedChunks, m.log)
	return int(r.Return.UnsharedChunks), size
}

// marked counts the chunks that have at least one of the blocks.
func marked(blocks, perChunk int, block func(i int) bool) (n int) {
	next := 0 // chunk
	for i := range blocks {
		if i/perChunk >= next && block(i) {
			n, next = n+1, i/perChunk+1
		}
	}
	return n
}

// compareUnshared: blocks whose content differs are in the bitmap, blocks that are the same
// one are not; those written with what was there before may be.
func (m *model) compareUnshared(v, base *volume) {
	if v.family != base.family {
		_, err := m.host().Call(m.ctx, &wire.UnsharedBitmapVirtualVolume{VVolID: v.id, BaseVVolID: base.id, SegmentLengthBytes: modelMB, ChunkSizeBytes: modelBlock})
		require.Equal(m.t, "IncompatibleVolume", vasatest.Fault(err), m.log)
		_, err = m.host().Call(m.ctx, &wire.UnsharedChunksVirtualVolume{VVolID: v.id, BaseVVolID: &base.id, SegmentLengthBytes: modelMB})
		require.Equal(m.t, "IncompatibleVolume", vasatest.Fault(err), m.log)
		return
	}
	bits, zeros := m.unshared(v, base), make([]byte, modelBlock)
	chunks, size := m.unsharedChunks(v, &base.id)
	require.Equal(m.t, marked(len(v.blocks), size/modelBlock, func(i int) bool { return bit(bits, i) }), chunks, "%s: chunks of %s that differ from %s", m.log, v.id, base.id)
	for i, b := range v.blocks {
		theirs, same := zeros, false
		if i < len(base.blocks) {
			theirs, same = base.content[i*modelBlock:(i+1)*modelBlock], b == base.blocks[i]
		}
		switch differs := !bytes.Equal(v.content[i*modelBlock:(i+1)*modelBlock], theirs); {
		case differs && !bit(bits, i):
			m.t.Fatalf("%s: block %d of %s differs from %s, and is not in the bitmap", m.log, i, v.id, base.id)
		case same && bit(bits, i):
			m.t.Fatalf("%s: block %d of %s is that of %s, and is in the bitmap", m.log, i, v.id, base.id)
		}
	}
}
