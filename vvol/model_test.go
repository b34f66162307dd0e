package vvol_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"vvsim/vvol"
	"vvsim/vvol/store"
)

// model is what the array should tell after a sequence of operations.
type model struct {
	*lab
	volumes  map[vvol.ID]*modelVolume
	bindings map[vvol.ID]map[string]vvol.Binding
	luns     map[uint16]vvol.ID
}

type modelVolume struct {
	size   uint64
	name   string
	blocks [4]byte
	parent vvol.ID // of snapshots
	fixed  bool
}

func (m *model) pick(t *rapid.T) vvol.ID {
	ids := []vvol.ID{{0xff}} // one that does not exist
	for id := range m.volumes {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b vvol.ID) int { return slices.Compare(a[:], b[:]) })
	return rapid.SampledFrom(ids).Draw(t, "volume")
}

func (m *model) used(id vvol.ID) bool {
	if len(m.bindings[id]) > 0 {
		return true
	}
	for _, v := range m.luns {
		if v == id {
			return true
		}
	}
	return false
}

// expect compares an outcome with what the model says of it.
func expect(t *rapid.T, err error, want error) bool {
	if want == nil {
		require.NoError(t, err)
		return true
	}
	require.ErrorIs(t, err, want)
	return false
}

func (m *model) create(t *rapid.T) {
	size := rapid.Uint64Range(0, 4).Draw(t, "MiB") * mib
	level := rapid.SampledFrom([]string{"", "thick"}).Draw(t, "level")
	v, err := m.Create(m.t.Context(), vvol.CreateSpec{Container: "default", Size: size, Name: "n", PolicySpec: vvol.PolicySpec{ServiceLevel: level}})
	if size == 0 {
		expect(t, err, vvol.ErrInvalid)
		return
	}
	require.NoError(t, err)
	m.volumes[v.ID] = &modelVolume{size: size, name: "n"}
}

func (m *model) copyOf(t *rapid.T, snapshot bool) {
	id := m.pick(t)
	from := m.volumes[id]
	var v vvol.VirtualVolume
	var err error
	if snapshot {
		v, err = m.Snapshot(m.t.Context(), id, vvol.SnapshotSpec{Name: "s"})
	} else {
		v, err = m.Clone(m.t.Context(), id, vvol.CloneSpec{Name: "c"})
	}
	if from == nil {
		expect(t, err, vvol.ErrNotFound)
		return
	}
	if errors.Is(err, vvol.ErrTooManySnapshots) {
		return // chain too deep, the engine's to know
	}
	require.NoError(t, err)
	made := *from
	made.name, made.parent, made.fixed = v.Name, vvol.ID{}, snapshot
	if snapshot {
		made.parent = id
	}
	m.volumes[v.ID] = &made
}

func (m *model) change(t *rapid.T) {
	id, block := m.pick(t), rapid.Uint64Range(0, 3).Draw(t, "block")
	v := m.volumes[id]
	fill := byte(rapid.IntRange(1, 255).Draw(t, "fill"))
	err := m.write(id, block, fill)
	switch {
	case v == nil:
		require.ErrorIs(t, err, store.ErrNotFound)
	case v.fixed:
		require.ErrorIs(t, err, store.ErrReadOnly)
	default:
		require.NoError(t, err)
		v.blocks[block] = fill
	}
}

func (m *model) revert(t *rapid.T) {
	id, snapshot := m.pick(t), m.pick(t)
	v, s := m.volumes[id], m.volumes[snapshot]
	_, err := m.Revert(m.t.Context(), id, snapshot)
	switch {
	case v == nil || s == nil:
		expect(t, err, vvol.ErrNotFound)
	case s.parent != id:
		expect(t, err, vvol.ErrIncompatible)
	case v.fixed:
		expect(t, err, vvol.ErrUnsupported)
	case errors.Is(err, vvol.ErrTooManySnapshots):
	case expect(t, err, nil):
		v.size, v.blocks = s.size, s.blocks
	}
}

func (m *model) resize(t *rapid.T) {
	id, size := m.pick(t), rapid.Uint64Range(1, 8).Draw(t, "MiB")*mib
	v := m.volumes[id]
	_, err := m.Resize(m.t.Context(), id, size)
	switch {
	case v == nil:
		expect(t, err, vvol.ErrNotFound)
	case v.size == size:
		expect(t, err, nil)
	case v.fixed:
		expect(t, err, vvol.ErrUnsupported)
	case size < v.size && m.used(id):
		expect(t, err, vvol.ErrInUse)
	case expect(t, err, nil):
		v.size = size
	}
}

func (m *model) remove(t *rapid.T) {
	id := m.pick(t)
	err := m.Delete(m.t.Context(), id)
	switch {
	case m.volumes[id] == nil:
		expect(t, err, vvol.ErrNotFound)
	case m.used(id):
		expect(t, err, vvol.ErrInUse)
	case expect(t, err, nil):
		delete(m.volumes, id)
	}
}

func (m *model) bind(t *rapid.T) {
	id, host := m.pick(t), fmt.Sprint(iqn, rapid.IntRange(1, 3).Draw(t, "host"))
	b, err := m.Bind(m.t.Context(), id, host)
	if m.volumes[id] == nil {
		expect(t, err, vvol.ErrNotFound)
		return
	}
	require.NoError(t, err)
	if old, has := m.bindings[id][host]; has {
		require.Equal(t, old, b)
	}
	if m.bindings[id] == nil {
		m.bindings[id] = map[string]vvol.Binding{}
	}
	m.bindings[id][host] = b
}

func (m *model) unbind(t *rapid.T) {
	id, host := m.pick(t), fmt.Sprint(iqn, rapid.IntRange(1, 3).Draw(t, "host"))
	err := m.Unbind(m.t.Context(), id, host)
	if _, has := m.bindings[id][host]; !has {
		expect(t, err, vvol.ErrNotFound)
		return
	}
	require.NoError(t, err)
	delete(m.bindings[id], host)
}

func (m *model) alias(t *rapid.T) {
	id, n := m.pick(t), uint16(rapid.IntRange(0, 3).Draw(t, "LUN"))
	_, err := m.MapLUN(m.t.Context(), id, &n)
	owner, taken := m.luns[n]
	switch {
	case m.volumes[id] == nil:
		expect(t, err, vvol.ErrNotFound)
	case taken && owner != id:
		expect(t, err, vvol.ErrInUse)
	case expect(t, err, nil):
		m.luns[n] = id
	}
}

func (m *model) unalias(t *rapid.T) {
	n := uint16(rapid.IntRange(0, 3).Draw(t, "LUN"))
	err := m.UnmapLUN(m.t.Context(), n)
	if _, has := m.luns[n]; !has {
		expect(t, err, vvol.ErrNotFound)
		return
	}
	require.NoError(t, err)
	delete(m.luns, n)
}

// compare holds the catalog and the contents against the model.
func (m *model) compare(t *rapid.T) {
	m.verify()
	list := m.VVols(vvol.Filter{})
	require.Len(t, list, len(m.volumes))
	for _, v := range list {
		want := m.volumes[v.ID]
		require.Equal(t, want.size, v.Size)
		require.Equal(t, want.fixed, v.ReadOnly)
		require.Equal(t, want.parent, v.SnapshotOf)
		for i, fill := range want.blocks {
			require.Equal(t, fill, m.read(v.ID, uint64(i)), "block %d", i)
		}
	}
	n := 0
	for _, of := range m.bindings {
		n += len(of)
	}
	require.Len(t, m.Bindings(vvol.BindingFilter{}), n)
	require.Len(t, m.LUNMappings(), len(m.luns))
}

// TestModel runs random sequences of operations and restarts.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{lab: newLab(t, 2), volumes: map[vvol.ID]*modelVolume{}, bindings: map[vvol.ID]map[string]vvol.Binding{},
			luns: map[uint16]vvol.ID{}}
		rt.Repeat(map[string]func(*rapid.T){
			"create": m.create, "snapshot": func(t *rapid.T) { m.copyOf(t, true) }, "clone": func(t *rapid.T) { m.copyOf(t, false) },
			"write": m.change, "revert": m.revert, "resize": m.resize, "delete": m.remove, "bind": m.bind, "unbind": m.unbind,
			"map": m.alias, "unmap": m.unalias, "restart": func(*rapid.T) { m.restart() }, "": m.compare,
		})
		require.NoError(rt, m.Close())
	})
}

// Whatever thin volumes take and snapshots share, a thick volume can be written
// everywhere, and the container never holds more than its size.
func TestThickGuarantee(t *testing.T) {
	const block, blocks = 4096, 8
	rapid.Check(t, func(rt *rapid.T) {
		l := newLab(t, 1)
		ctx := t.Context()
		size := rapid.Uint64Range(blocks, 5*blocks).Draw(rt, "container") * block
		_, err := l.CreateContainer(ctx, vvol.ContainerSpec{Name: "k", Size: size})
		require.NoError(rt, err)
		thick, err := l.Create(ctx, vvol.CreateSpec{Container: "k", Size: blocks * block, PolicySpec: vvol.PolicySpec{ServiceLevel: "thick"}})
		require.NoError(rt, err)
		thin, err := l.Create(ctx, vvol.CreateSpec{Container: "k", Size: mib})
		require.NoError(rt, err)
		next := uint64(0)
		spaceOr := func(err error) bool {
			if !errors.Is(err, vvol.ErrNoSpace) && !errors.Is(err, vvol.ErrTooManySnapshots) {
				require.NoError(rt, err)
			}
			return err == nil
		}
		others := []vvol.ID{}
		actions := map[string]func(*rapid.T){
			"thin": func(*rapid.T) {
				if err := l.write(thin.ID, next, 1); !errors.Is(err, store.ErrNoSpace) {
					require.NoError(rt, err)
					next++
				}
			},
			"thick": func(rt *rapid.T) {
				for b := range rapid.Uint64Range(0, blocks).Draw(rt, "blocks") {
					require.NoError(rt, l.write(thick.ID, b, 2), "block %d", b)
				}
			},
			"snapshot": func(*rapid.T) {
				if v, err := l.Snapshot(ctx, thick.ID, vvol.SnapshotSpec{}); spaceOr(err) {
					others = append(others, v.ID)
				}
			},
			"clone": func(*rapid.T) {
				if v, err := l.FastClone(ctx, thick.ID, vvol.CloneSpec{PolicySpec: vvol.PolicySpec{ServiceLevel: "default"}}); spaceOr(err) {
					others = append(others, v.ID)
				}
			},
			"revert": func(*rapid.T) {
				if snaps := l.SnapshotsOf(thick.ID); len(snaps) > 0 {
					_, err := l.Revert(ctx, thick.ID, snaps[0])
					spaceOr(err)
				}
			},
			"delete": func(*rapid.T) {
				if len(others) > 0 {
					require.NoError(rt, l.Delete(ctx, others[0]))
					others = others[1:]
				}
			},
			"restart": func(*rapid.T) { l.restart() },
			"": func(rt *rapid.T) {
				u, err := l.ContainerUsage(ctx, "k")
				require.NoError(rt, err)
				require.LessOrEqual(rt, u.Used, size)
			},
		}
		rt.Repeat(actions)
		for b := range uint64(blocks) {
			require.NoError(rt, l.write(thick.ID, b, 3), "block %d", b)
		}
		require.NoError(rt, l.Close())
	})
}

// Many callers on few volumes: nothing is lost or mixed, no deadlock, and no
// call for one volume overlaps another (the endpoints see to that).
func TestConcurrency(t *testing.T) {
	ctx := t.Context()
	l := newLab(t, 3)
	shared := []vvol.VirtualVolume{l.create("a", 1), l.create("b", 1), l.create("c", 1)}
	allowed := []error{vvol.ErrNotFound, vvol.ErrInUse, vvol.ErrTooManySnapshots, vvol.ErrBusy, vvol.ErrExists, vvol.ErrIncompatible}
	var work sync.WaitGroup
	for w := range 8 {
		work.Go(func() {
			host := fmt.Sprint(iqn, w%3)
			for i := range 30 {
				v, other := shared[(w+i)%3].ID, shared[(w+i+1)%3].ID
				var errs []error
				try := func(err error) { errs = append(errs, err) }
				_, err := l.Bind(ctx, v, host)
				try(err)
				made, err := l.SnapshotSet(ctx, []vvol.SnapshotItem{{VVol: other}, {VVol: v}})
				try(err)
				n := uint16(i % 5)
				_, err = l.MapLUN(ctx, v, &n)
				try(err)
				try(l.UnmapLUN(ctx, n))
				for _, snap := range made {
					_, err = l.Revert(ctx, snap.SnapshotOf, snap.ID)
					try(err)
					try(l.Delete(ctx, snap.ID))
				}
				own, err := l.Create(ctx, vvol.CreateSpec{Container: "default", Size: mib, Name: host})
				try(err)
				try(l.CopyDiffs(ctx, v, v, own.ID))
				try(l.Unbind(ctx, v, host))
				try(l.Delete(ctx, own.ID))
				l.VVols(vvol.Filter{Name: host})
				for _, err := range errs {
					if err != nil && !slices.ContainsFunc(allowed, func(e error) bool { return errors.Is(err, e) }) {
						t.Errorf("worker %d round %d: %v", w, i, err)
					}
				}
			}
		})
	}
	work.Go(func() {
		for range 20 {
			if err := l.Check(ctx); err != nil {
				t.Errorf("beside operations: %v", err)
			}
		}
	})
	work.Wait()
	l.verify()
	require.Len(t, l.VVols(vvol.Filter{}), 3)
	l.restart()
	l.verify()
}

// Slow work on one volume holds up nobody else, and a query not even for that
// volume.
func TestSlowVolumeBlocksNobody(t *testing.T) {
	ctx := t.Context()
	l := newLab(t, 1)
	slow, other := l.create("slow", 1), l.create("other", 1)
	_, err := l.Bind(ctx, slow.ID, iqn)
	require.NoError(t, err)
	at, on, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	l.endpoints.draining = func(context.Context) error { close(at); <-on; return nil }
	go func() { ended <- l.Unbind(ctx, slow.ID, iqn) }()
	<-at
	l.endpoints.draining = nil
	_, err = l.Bind(ctx, other.ID, iqn)
	require.NoError(t, err)
	_, err = l.VVol(slow.ID)
	require.NoError(t, err)
	require.NoError(t, l.SaveReservationState(ctx, slow.ID, []byte("from a command being drained")))
	waiting, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, l.Delete(waiting, slow.ID), context.Canceled)
	close(on)
	require.NoError(t, <-ended)
	l.verify()
}

// TestScale: 20,000 volumes with metadata and 100,000 bindings are loaded in
// seconds, queried by index, and change no more slowly than a few.
func TestScale(t *testing.T) {
	const volumes, hosts, queries = 20_000, 5, 1000
	ctx := t.Context()
	l := newLab(t, 4)
	build := time.Now()
	var work sync.WaitGroup
	for w := range 4 {
		work.Go(func() {
			for i := w; i < volumes; i += 4 {
				v, err := l.Create(ctx, vvol.CreateSpec{Container: "default", Size: mib, Name: fmt.Sprint("disk", i), Metadata: map[string]string{
					"VMW_VVolType": "Data", "VMW_VmID": fmt.Sprint(i / 10), "VMW_VVolName": fmt.Sprint("disk", i)}})
				for h := range hosts {
					if err == nil {
						_, err = l.Bind(ctx, v.ID, fmt.Sprint(iqn, h))
					}
				}
				if err != nil {
					t.Errorf("volume %d: %v", i, err)
					return
				}
			}
		})
	}
	work.Wait()
	built := time.Since(build)
	require.Len(t, l.Bindings(vvol.BindingFilter{}), volumes*hosts)
	require.NoError(t, l.Close())
	l.Service = nil
	fresh := newEndpoints(t, 0)
	fresh.pes = l.endpoints.pes
	l.endpoints = fresh
	heap := heapBytes()
	start := time.Now()
	l.open(vvol.Options{})
	opened := time.Since(start)
	heap = heapBytes() - heap
	start = time.Now()
	require.NoError(t, l.Start(ctx))
	started := time.Since(start)
	start = time.Now()
	for i := range queries {
		list := l.VVols(vvol.Filter{Container: "default", Metadata: map[string]string{"VMW_VVolType": "Data", "VMW_VmID": fmt.Sprint(i % (volumes / 10))}})
		require.Len(t, list, 10)
		require.Len(t, l.Bindings(vvol.BindingFilter{VVol: &list[0].ID}), hosts)
	}
	query := time.Since(start) / queries
	start = time.Now()
	require.Len(t, l.VVols(vvol.Filter{}), volumes)
	listed := time.Since(start)
	start = time.Now()
	_, err := l.ContainerUsage(ctx, "default")
	require.NoError(t, err)
	measured := time.Since(start)
	t.Logf("%d volumes, %d bindings: built in %v, opened in %v, the index holds %d MiB, started in %v, %v for a query, %v for a list of all, %v for the usage of the container",
		volumes, volumes*hosts, built, opened, heap>>20, started, query, listed, measured)
	l.verify()
}

// heapBytes is what is reachable.
func heapBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
