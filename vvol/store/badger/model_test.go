package badger

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
)

// model is what volumes have to hold: plain bytes.
type model struct {
	t       *testing.T
	e       *Engine
	dir     string
	random  *rand.Rand
	content map[store.ID][]byte
	next    byte
}

const modelSize = 64 * blockSize

// TestModel runs random operations against plain bytes, with the collector at
// work and restarts in between. Chains of snapshots are made and cut, so that
// layers are merged while they are written.
func TestModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	m := &model{t: t, dir: t.TempDir(), random: rand.New(rand.NewPCG(seed, 0)), content: map[store.ID][]byte{}}
	m.open()
	defer func() { require.NoError(t, m.e.Close()) }()
	for i := range 1500 {
		switch k := m.random.IntN(100); {
		case len(m.content) == 0 || k < 3 && len(m.content) < 12:
			m.create()
		case k < 45:
			m.write()
		case k < 60:
			m.unmap()
		case k < 68 && len(m.content) < 12:
			m.copy(false)
		case k < 74 && len(m.content) < 12:
			m.copy(true)
		case k < 82:
			m.delete()
		case k < 84:
			m.merge()
		case k < 85:
			require.NoError(t, m.e.Close())
			m.open()
		default:
			m.check(m.any(), fmt.Sprintf("step %d", i))
		}
	}
	m.merge()
	for id := range m.content {
		m.check(id, "at the end")
	}
	require.NoError(t, m.e.Close())
	m.open()
	for id := range m.content {
		m.check(id, "after reopening")
	}
}

func (m *model) open() {
	// merge runs the drainer's steps at known places: its own goroutine has no tick, and
	// all that the test writes is less than what wakes it.
	m.e = openStill(m.t, m.dir)
}

func (m *model) any() store.ID {
	k := m.random.IntN(len(m.content))
	for id := range m.content {
		if k == 0 {
			return id
		}
		k--
	}
	panic("unreachable")
}

func (m *model) create() {
	m.next++
	id := store.ID{m.next}
	require.NoError(m.t, m.e.Create(m.t.Context(), id, store.CreateOptions{Size: modelSize}))
	m.content[id] = make([]byte, modelSize)
}

// place picks a range in units of 512 bytes.
func (m *model) place() (off, n int) {
	off = m.random.IntN(modelSize/512) * 512
	n = (1 + m.random.IntN(min(40, (modelSize-off)/512))) * 512
	return off, n
}

func (m *model) object(id store.ID) store.Object {
	o, err := m.e.Open(m.t.Context(), id)
	require.NoError(m.t, err)
	return o
}

func (m *model) write() {
	id := m.any()
	off, n := m.place()
	p := bytes.Repeat([]byte{byte(1 + m.random.IntN(255))}, n)
	require.NoError(m.t, m.object(id).WriteAt(m.t.Context(), p, uint64(off), store.WriteOptions{}))
	copy(m.content[id][off:], p)
}

func (m *model) unmap() {
	id := m.any()
	off, n := m.place()
	if m.random.IntN(4) == 0 {
		off, n = 0, modelSize
	}
	require.NoError(m.t, m.object(id).Unmap(m.t.Context(), uint64(off), uint64(n), store.WriteOptions{}))
	clear(m.content[id][off : off+n])
}

func (m *model) copy(snapshot bool) {
	src := m.any()
	m.next++
	dst := store.ID{m.next}
	if snapshot {
		require.NoError(m.t, m.e.Snapshot(m.t.Context(), []store.SnapshotSpec{{Source: src, Snapshot: dst, Writable: true}}))
	} else {
		require.NoError(m.t, m.e.Clone(m.t.Context(), src, dst, store.Pool{}))
	}
	m.content[dst] = bytes.Clone(m.content[src])
}

func (m *model) delete() {
	id := m.any()
	require.NoError(m.t, m.e.Delete(m.t.Context(), id))
	delete(m.content, id)
}

// merge runs the collector's steps until nothing is left to do. The drainer's own
// goroutine is idle: its ticks are an hour apart, and little is written.
func (m *model) merge() {
	d := &m.e.drainer
	require.NoError(m.t, d.drainTo(m.e.journal.Head()))
	drop(m.t, m.e)
	require.NoError(m.t, d.mergeLayers(1000))
	require.NoError(m.t, d.packZeros())
	m.e.index.RLock()
	victims := m.e.index.Survivors(m.e.nextID.Load(), drainPages)
	m.e.index.RUnlock()
	require.NoError(m.t, d.move(victims))
	require.NoError(m.t, d.checkpoint())
}

func (m *model) check(id store.ID, when string) {
	p := make([]byte, modelSize)
	require.NoError(m.t, m.object(id).ReadAt(m.t.Context(), p, 0), when)
	if !bytes.Equal(p, m.content[id]) {
		i := 0
		for p[i] == m.content[id][i] {
			i++
		}
		m.t.Fatalf("%s: volume %v differs at byte %d (block %d): %d instead of %d", when, id, i, i/blockSize, p[i], m.content[id][i])
	}
	info, err := m.e.Stat(m.t.Context(), id)
	require.NoError(m.t, err)
	var least uint64
	for b := 0; b < modelSize; b += blockSize {
		if !bytes.Equal(m.content[id][b:b+blockSize], make([]byte, blockSize)) {
			least += blockSize
		}
	}
	require.GreaterOrEqual(m.t, info.Allocated, least, when)
	require.LessOrEqual(m.t, info.Unshared, info.Allocated, when)
}

// TestPoolUsage counts shared data once and gives it back.
func TestPoolUsage(t *testing.T) {
	e, err := Open(t.Context(), small(t.TempDir()))
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	pool := store.Pool{9}
	a, b := store.ID{1}, store.ID{2}
	require.NoError(t, e.Create(t.Context(), a, store.CreateOptions{Size: 1 << 20, Pool: pool}))
	o, err := e.Open(t.Context(), a)
	require.NoError(t, err)
	require.NoError(t, o.WriteAt(t.Context(), bytes.Repeat([]byte{7}, 16*blockSize), 0, store.WriteOptions{}))
	require.NoError(t, e.Clone(t.Context(), a, b, pool))
	require.EqualValues(t, 16*blockSize, e.PoolUsage(pool))
	e.SetPoolLimit(pool, 17*blockSize)
	require.NoError(t, o.WriteAt(t.Context(), bytes.Repeat([]byte{8}, blockSize), 0, store.WriteOptions{}))
	require.ErrorIs(t, o.WriteAt(t.Context(), bytes.Repeat([]byte{8}, blockSize), blockSize, store.WriteOptions{}), store.ErrNoSpace)
	require.NoError(t, e.Delete(t.Context(), b))
	require.Eventually(t, func() bool { return e.PoolUsage(pool) == 16*blockSize }, 10*time.Second, time.Millisecond)
}
