package vvol_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vvol"
	"vvsim/vvol/store"
)

// pickyEngine refuses rows whose key holds bad, transactions of more than max
// rows, and deletions while stuck.
type pickyEngine struct {
	store.Engine
	bad   string
	max   int
	stuck bool
}

func (e *pickyEngine) Delete(ctx context.Context, id store.ID) error {
	if e.stuck {
		return store.ErrUnavailable
	}
	return e.Engine.Delete(ctx, id)
}

func (e *pickyEngine) Meta() store.Meta { return pickyMeta{e.Engine.Meta(), e} }

type pickyMeta struct {
	store.Meta
	e *pickyEngine
}

func (m pickyMeta) Update(ctx context.Context, f func(store.MetaTx) error) error {
	return m.Meta.Update(ctx, func(tx store.MetaTx) error { return f(&pickyTx{tx, m.e, 0}) })
}

type pickyTx struct {
	store.MetaTx
	e    *pickyEngine
	rows int
}

func (tx *pickyTx) Set(key, value []byte) error {
	if tx.rows++; tx.e.max > 0 && tx.rows > tx.e.max {
		return store.ErrTooBig
	}
	if tx.e.bad != "" && strings.Contains(string(key), tx.e.bad) {
		return errors.New("bad key")
	}
	return tx.MetaTx.Set(key, value)
}

// Operations that are committed together fail apart.
func TestGroupFailsApart(t *testing.T) {
	l := newLab(t, 1)
	require.NoError(t, l.Close())
	l.open(vvol.Options{Engine: &pickyEngine{Engine: l.engine, bad: "bad", max: 8}})
	var work sync.WaitGroup
	for i := range 64 {
		work.Go(func() {
			name := fmt.Sprint(iqn, i)
			if i%4 == 0 {
				name += "bad"
			}
			if err := l.SawInitiator(t.Context(), name); (err != nil) != (i%4 == 0) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	work.Wait()
	require.Len(t, l.Hosts(), 48)
	l.verify()
	events := l.Events(0, 1000)
	for i, e := range events {
		require.Equal(t, events[0].Serial+uint64(i), e.Serial, "no serial is lost with a batch that failed")
	}
	// A step that is too big by itself says so and leaves nothing.
	items := []vvol.SnapshotItem{}
	for i := range 10 {
		items = append(items, vvol.SnapshotItem{VVol: l.create(fmt.Sprint(i), 1).ID})
	}
	_, err := l.SnapshotSet(t.Context(), items)
	require.ErrorIs(t, err, vvol.ErrTooMany)
	require.Len(t, l.VVols(vvol.Filter{}), 10)
	l.verify()
}

// A volume in the engine that the catalog does not know is not taken over and
// not deleted.
func TestStrangerInTheEngine(t *testing.T) {
	l := newLab(t, 1)
	id := store.ID{7}
	require.NoError(t, l.engine.Create(t.Context(), id, store.CreateOptions{Size: 8 * mib}))
	_, err := l.Create(t.Context(), vvol.CreateSpec{Container: "default", Size: mib, ID: vvol.ID(id)})
	require.ErrorIs(t, err, vvol.ErrExists)
	info, err := l.engine.Stat(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, uint64(8*mib), info.Size)
	require.Empty(t, l.VVols(vvol.Filter{}))
	require.ErrorContains(t, l.Check(t.Context()), "the catalog has not")
}

// A volume that cannot be settled at the start does not keep the array from
// starting; the next operation on it settles it.
func TestUnsettledAtOpen(t *testing.T) {
	ctx := t.Context()
	s, c := newCrashStage(t)
	c.arm(2, true) // the engine has made the volume, the final row is missing
	id := vvol.ID{5}
	_, err := s.Create(ctx, vvol.CreateSpec{Container: "default", Size: mib, ID: id})
	require.ErrorIs(t, err, errCrashed)
	require.NoError(t, s.Close())
	s.endpoints = newEndpoints(t, 2)
	stuck := &pickyEngine{Engine: s.engine, stuck: true}
	s.open(vvol.Options{Engine: stuck})
	require.NoError(t, s.Start(ctx))
	s.verify()
	last := s.Events(0, 1000)
	require.Equal(t, "vvol.unsettled", last[len(last)-1].Kind)
	_, err = s.VVol(id)
	require.ErrorIs(t, err, vvol.ErrNotFound)
	require.ErrorIs(t, s.Delete(ctx, id), vvol.ErrBusy)
	running := s.Tasks()
	require.Equal(t, vvol.TaskRunning, running[len(running)-1].State)
	stuck.stuck = false
	require.ErrorIs(t, s.Delete(ctx, id), vvol.ErrNotFound, "undone, as it was never acknowledged")
	_, err = s.engine.Stat(ctx, store.ID(id))
	require.ErrorIs(t, err, store.ErrNotFound)
	task, err := s.Task(running[len(running)-1].ID)
	require.NoError(t, err)
	require.Equal(t, vvol.TaskError, task.State)
	s.verify()
}

// What the engine refuses is taken back at once.
func TestEngineRefuses(t *testing.T) {
	ctx := t.Context()
	l := newLab(t, 1)
	v := l.create("v", 1)
	require.NoError(t, l.Close())
	engine := &pickyEngine{Engine: l.engine, stuck: true}
	l.open(vvol.Options{Engine: engine})
	require.ErrorIs(t, l.Delete(ctx, v.ID), vvol.ErrBusy)
	back, err := l.VVol(v.ID)
	require.NoError(t, err)
	require.Equal(t, v, back)
	l.verify()

	// A chain that is too deep: of a clone, as a volume alone has fewer snapshots.
	engine.stuck = false
	deep, made := v.ID, 0
	for i := range engine.Limits().MaxDepth + 1 {
		if i == 200 {
			clone, err := l.Clone(ctx, v.ID, vvol.CloneSpec{})
			require.NoError(t, err)
			deep, made = clone.ID, 201
		}
		require.NoError(t, l.write(deep, 0, byte(i)))
		if _, err = l.Snapshot(ctx, deep, vvol.SnapshotSpec{}); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, vvol.ErrTooManySnapshots)
	require.ErrorIs(t, err, store.ErrTooDeep)
	require.Len(t, l.VVols(vvol.Filter{}), made+len(l.SnapshotsOf(deep))+1)
	l.verify()
}
