package vvol_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vvol"
	"vvsim/vvol/store"
)

// lateEngine gives space back in the background: a pool holds what it ever held
// until collect. It counts looks at volumes and stops in Snapshot on demand.
type lateEngine struct {
	store.Engine
	looks      atomic.Int64
	onSnapshot func()

	mu   sync.Mutex
	held map[store.Pool]uint64
}

func (e *lateEngine) PoolUsage(pool store.Pool) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held[pool] = max(e.held[pool], e.Engine.PoolUsage(pool))
	return e.held[pool]
}

func (e *lateEngine) collect() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.held)
}

func (e *lateEngine) Stat(ctx context.Context, id store.ID) (store.Info, error) {
	e.looks.Add(1)
	return e.Engine.Stat(ctx, id)
}

func (e *lateEngine) Snapshot(ctx context.Context, specs []store.SnapshotSpec) error {
	if e.onSnapshot != nil {
		e.onSnapshot()
	}
	return e.Engine.Snapshot(ctx, specs)
}

const block = 4096

// newLateLab has a container "k" of some blocks on a lateEngine.
func newLateLab(t *testing.T, blocks uint64) (*lab, *lateEngine) {
	l := newLab(t, 1)
	require.NoError(t, l.Close())
	late := &lateEngine{Engine: l.engine, held: map[store.Pool]uint64{}}
	l.open(vvol.Options{Engine: late})
	_, err := l.CreateContainer(t.Context(), vvol.ContainerSpec{Name: "k", Size: blocks * block})
	require.NoError(t, err)
	return l, late
}

func (l *lab) createIn(level string, blocks uint64) (vvol.VirtualVolume, error) {
	return l.Create(context.Background(), vvol.CreateSpec{Container: "k", Size: blocks * block, PolicySpec: vvol.PolicySpec{ServiceLevel: level}})
}

// writeAll writes blocks from the first on, until one does not fit.
func (l *lab) writeAll(id vvol.ID, blocks uint64) (written uint64) {
	for written < blocks && l.write(id, written, 'x') == nil {
		written++
	}
	return written
}

// poolRows counts the rows of thick volumes' pools.
func (l *lab) poolRows() (n int) {
	require.NoError(l.t, l.engine.Meta().View(context.Background(), func(tx store.MetaTx) error {
		for range tx.Scan([]byte("vvol/p/")) {
			n++
		}
		return nil
	}))
	return n
}

// Space that the engine gives back after the deletion of a thick volume can be
// reserved again, and thin volumes get it with the next look at the container.
func TestSpaceReturnsLate(t *testing.T) {
	ctx := t.Context()
	l, late := newLateLab(t, 8)
	for _, heir := range []string{"thick", "default", "thick"} {
		thick, err := l.createIn("thick", 6)
		require.NoError(t, err)
		require.Equal(t, uint64(6), l.writeAll(thick.ID, 6))
		late.PoolUsage(store.Pool(thick.ID))
		require.NoError(t, l.Delete(ctx, thick.ID))
		_, err = l.createIn("thick", 6)
		require.ErrorIs(t, err, vvol.ErrNoSpace, "what was deleted is not collected yet")
		l.verify()
		late.collect()
		if heir == "default" {
			u, err := l.ContainerUsage(ctx, "k")
			require.NoError(t, err)
			require.Zero(t, u.Used)
		}
		next, err := l.createIn(heir, 6)
		require.NoError(t, err)
		require.Equal(t, uint64(6), l.writeAll(next.ID, 6))
		require.NoError(t, l.Delete(ctx, next.ID))
		late.collect()
		l.verify()
	}
	late.collect()
	last := l.create("elsewhere", 1)
	require.NoError(t, l.Delete(ctx, last.ID))
	require.Zero(t, l.poolRows(), "rows of pools that hold nothing go with the next deletion")
}

// A snapshot of a thick volume keeps what it has reserved until the engine has
// taken it, whatever is deleted meanwhile.
func TestReservationOutlivesOthersDeletion(t *testing.T) {
	ctx := t.Context()
	l, late := newLateLab(t, 24)
	a, err := l.createIn("thick", 8)
	require.NoError(t, err)
	require.Equal(t, uint64(8), l.writeAll(a.ID, 8))
	first, err := l.Snapshot(ctx, a.ID, vvol.SnapshotSpec{})
	require.NoError(t, err)
	require.NoError(t, l.Delete(ctx, first.ID))
	first, err = l.Snapshot(ctx, a.ID, vvol.SnapshotSpec{})
	require.NoError(t, err)
	_, err = l.Revert(ctx, a.ID, first.ID)
	require.NoError(t, err)
	b, err := l.createIn("thick", 4)
	require.NoError(t, err)
	thin, err := l.createIn("default", 24)
	require.NoError(t, err)
	late.onSnapshot = func() {
		late.onSnapshot = nil
		for _, id := range []vvol.ID{b.ID, first.ID} {
			require.NoError(t, l.Delete(ctx, id))
			late.collect()
			_, err := l.ContainerUsage(ctx, "k")
			require.NoError(t, err)
		}
		require.Equal(t, uint64(8), l.writeAll(thin.ID, 24), "the container less what the snapshot may need")
	}
	_, err = l.Snapshot(ctx, a.ID, vvol.SnapshotSpec{})
	require.NoError(t, err)
	require.Equal(t, uint64(8), l.writeAll(a.ID, 8))
	u, err := l.ContainerUsage(ctx, "k")
	require.NoError(t, err)
	require.Equal(t, uint64(24*block), u.Used)
	l.verify()
}

// What an operation on a thick volume costs does not depend on how many there are.
func TestThickVolumesDoNotPayForOthers(t *testing.T) {
	ctx := t.Context()
	l, late := newLateLab(t, 1<<20)
	const volumes, looksEach = 200, 8
	perOperation := func(what string, f func() error) {
		before := late.looks.Load()
		require.NoError(t, f())
		require.LessOrEqual(t, late.looks.Load()-before, int64(looksEach), what)
	}
	all := []vvol.ID{}
	for i := range volumes {
		perOperation(fmt.Sprint("create ", i), func() error {
			v, err := l.createIn("thick", 2)
			all = append(all, v.ID)
			return err
		})
		perOperation(fmt.Sprint("snapshot ", i), func() error {
			v, err := l.Snapshot(ctx, all[len(all)-1], vvol.SnapshotSpec{})
			all = append(all, v.ID)
			return err
		})
	}
	for i, id := range all {
		perOperation(fmt.Sprint("delete ", i), func() error { return l.Delete(ctx, id) })
	}
	require.Zero(t, l.poolRows())
	l.verify()
}
