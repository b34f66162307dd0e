package vvol_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vvol"
	"vvsim/vvol/store"
)

func TestOptions(t *testing.T) {
	ctx := context.Background()
	engine, ends := newEngine(t), newEndpoints(t, 1)
	for what, o := range map[string]vvol.Options{
		"engine":        {Endpoints: ends},
		"endpoints":     {Engine: engine},
		"MaxVVols":      {Engine: engine, Endpoints: ends, MaxVVols: -1},
		"negative time": {Engine: engine, Endpoints: ends, DrainTimeout: -1},
	} {
		_, err := vvol.Open(ctx, o)
		require.ErrorIs(t, err, vvol.ErrInvalid)
		require.ErrorContains(t, err, what)
	}
}

func TestArrayIDStays(t *testing.T) {
	ctx := context.Background()
	l := newLab(t, 1)
	id := l.ArrayID()
	_, err := store.ParseID(id)
	require.NoError(t, err)
	l.restart()
	require.Equal(t, id, l.ArrayID())
	again, err := vvol.ArrayID(ctx, l.engine.Meta())
	require.NoError(t, err)
	require.Equal(t, id, again)
	_, err = vvol.Open(ctx, vvol.Options{Engine: l.engine, Endpoints: l.endpoints, ArrayID: "another"})
	require.ErrorIs(t, err, vvol.ErrInvalid)

	newer := newEngine(t)
	require.NoError(t, newer.Meta().Update(ctx, func(tx store.MetaTx) error {
		return tx.Set([]byte("vvol/f"), []byte(`{"version":2,"arrayId":"x"}`))
	}))
	_, err = vvol.Open(ctx, vvol.Options{Engine: newer, Endpoints: l.endpoints})
	require.ErrorIs(t, err, vvol.ErrUnsupported)
}

// A catalog that was damaged is refused with the row's name, not half loaded.
func TestDamagedRows(t *testing.T) {
	id := string(make([]byte, 16))
	for key, value := range map[string]string{
		"vvol/v/" + id: `{`, "vvol/c/" + id: `{"id":"00000000-0000-0000-0000-000000000000"}`, "vvol/b/12345678": `{"id":1}`,
		"vvol/v/" + id[1:]: `{"id":"rfc4122.00000000-0000-0000-0000-000000000000","state":"Ready"}`,
		"vvol/l/x":         `[]`, "vvol/e/": `{}`, "vvol/n": `"x"`,
	} {
		engine := newEngine(t)
		require.NoError(t, engine.Meta().Update(t.Context(), func(tx store.MetaTx) error { return tx.Set([]byte(key), []byte(value)) }))
		_, err := vvol.Open(t.Context(), vvol.Options{Engine: engine, Endpoints: newEndpoints(t, 1)})
		require.ErrorIs(t, err, vvol.ErrStorage, "%q", key)
		require.ErrorContains(t, err, fmt.Sprintf("%q", key))
	}
}

func TestDefaults(t *testing.T) {
	l := newLab(t, 1)
	k, err := l.Container("default")
	require.NoError(t, err)
	require.Equal(t, uint64(1<<40), k.Size)
	require.True(t, k.ServiceLevels[0].Thin)
	byID, err := l.Container(k.ID.String())
	require.NoError(t, err)
	require.Equal(t, k, byID)
	require.NoError(t, l.EnsureDefaults(t.Context()))
	require.Len(t, l.Containers(), 1)
}

func TestLimits(t *testing.T) {
	ctx := t.Context()
	l := newLab(t, 1)
	require.NoError(t, l.Close())
	l.open(vvol.Options{MaxContainers: 2, MaxVVols: 4, MaxBindings: 2, MaxHosts: 2, MaxSnapshots: 1, TasksKept: 3, EventsKept: 5})
	_, err := l.CreateContainer(ctx, vvol.ContainerSpec{Name: "two", Size: gib})
	require.NoError(t, err)
	_, err = l.CreateContainer(ctx, vvol.ContainerSpec{Name: "three", Size: gib})
	require.ErrorIs(t, err, vvol.ErrTooMany)
	a, b := l.create("a", 4), l.create("b", 4)
	_, err = l.Snapshot(ctx, a.ID, vvol.SnapshotSpec{})
	require.NoError(t, err)
	_, err = l.PrepareSnapshot(ctx, a.ID, vvol.SnapshotSpec{})
	require.ErrorIs(t, err, vvol.ErrTooManySnapshots)
	p, err := l.PrepareSnapshot(ctx, b.ID, vvol.SnapshotSpec{})
	require.NoError(t, err)
	_, err = l.Create(ctx, vvol.CreateSpec{Container: "default", Size: mib})
	require.ErrorIs(t, err, vvol.ErrTooMany)
	_, err = l.TakePrepared(ctx, []vvol.PreparedItem{{Snapshot: p.ID}})
	require.NoError(t, err, "taking what is prepared needs no more room")
	_, err = l.Bind(ctx, a.ID, iqn+"1")
	require.NoError(t, err)
	_, err = l.Bind(ctx, b.ID, iqn+"2")
	require.NoError(t, err)
	_, err = l.Bind(ctx, a.ID, iqn+"2")
	require.ErrorIs(t, err, vvol.ErrTooMany)
	require.ErrorIs(t, l.SawInitiator(ctx, iqn+"3"), vvol.ErrTooMany)
	require.ErrorIs(t, l.SaveReservationState(ctx, a.ID, make([]byte, 1<<20)), vvol.ErrInvalid)
	require.Len(t, l.Tasks(), 3)
	require.Len(t, l.Events(0, 100), 5)
	l.verify()
	last := l.Events(0, 100)[4].Serial
	l.restart()
	l.verify()
	require.NoError(t, l.Unbind(ctx, a.ID, iqn+"1"))
	require.Len(t, l.Events(last+1, 100), 1, "serials go on over a restart")
}

// Tasks can be asked for minutes after their end (vasa.md 7.5), over restarts too, and
// those go that ended first; some stay for people to look at.
func TestTasksKept(t *testing.T) {
	ctx := t.Context()
	l := newLab(t, 1)
	const most = 1500
	l.restartWith(vvol.Options{TasksKept: most})
	note := func(n int) (ids []string) {
		for range n {
			task, err := l.NoteTask(ctx, "nothing", vvol.ID{}, "")
			require.NoError(t, err)
			ids = append(ids, task.ID)
		}
		return ids
	}
	known := func(id string) bool { _, err := l.Task(id); return err == nil }
	early := note(1)[0]
	first := note(1300)
	l.clock.advance(10*time.Minute - time.Second)
	note(1)
	require.True(t, known(early), "1,302 of them, none too old")
	l.restartWith(vvol.Options{TasksKept: most})
	require.True(t, known(early), "over a restart")
	l.clock.advance(time.Second)
	last := note(1)
	require.Len(t, l.Tasks(), 1024, "those that stay however old")
	require.False(t, known(early))
	require.True(t, known(first[1299]) && known(last[0]))
	note(most)
	require.Len(t, l.Tasks(), most, "not more, however young")
	require.False(t, known(last[0]))
	require.Empty(t, l.CurrentTasks())
	l.verify()
	l.restartWith(vvol.Options{TasksKept: most})
	require.Len(t, l.Tasks(), most)
	l.verify()
}

// BenchmarkTasksKept notes tasks while as many are kept as may be, and starts with them.
func BenchmarkTasksKept(b *testing.B) {
	l := newLab(b, 1)
	before := heap()
	for range 32_768 {
		_, err := l.NoteTask(b.Context(), "createVirtualVolume", vvol.ID{}, "rfc4122.269d3378-1ca6-4175-a18f-6d4839e5c746")
		require.NoError(b, err)
	}
	size := heap() - before // of the catalog and of the engine in memory
	b.Run("note", func(b *testing.B) {
		for b.Loop() {
			_, err := l.NoteTask(b.Context(), "createVirtualVolume", vvol.ID{}, "rfc4122.269d3378-1ca6-4175-a18f-6d4839e5c746")
			require.NoError(b, err)
		}
		b.ReportMetric(float64(size)/(1<<20), "MB")
	})
	b.Run("start", func(b *testing.B) {
		for b.Loop() {
			l.restart()
		}
	})
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// The secondary ids of one host on one PE end at 16,383 (scsi.md 1.1).
func TestSecondaryIDsEnd(t *testing.T) {
	l := newLab(t, 1)
	a := l.create("last", 1)
	for i := range 16383 {
		_, err := l.Bind(t.Context(), l.create(fmt.Sprint(i), 1).ID, iqn)
		require.NoError(t, err)
	}
	_, err := l.Bind(t.Context(), a.ID, iqn)
	require.ErrorIs(t, err, vvol.ErrTooMany)
	b, err := l.Bind(t.Context(), a.ID, iqn+"2")
	require.NoError(t, err)
	require.Equal(t, uint64(1), b.Secondary)
}

func TestServiceLevels(t *testing.T) {
	ctx := t.Context()
	l := newLab(t, 1)
	for _, levels := range [][]vvol.ServiceLevel{{{}}, {{Name: "x"}, {Name: "x"}}, {{Name: "x", SnapshotLimit: -1}},
		{{Name: "x", MaxIOPS: 1 << 40}}, {{Name: "x", MaxBytesPerSec: 1}}, {{Name: "x", Durability: "never"}}, {{Name: "x", WarnPercentUsed: 101}}, make([]vvol.ServiceLevel, 100)} {
		_, err := l.CreateContainer(ctx, vvol.ContainerSpec{Name: "c", Size: gib, ServiceLevels: levels})
		require.ErrorIs(t, err, vvol.ErrInvalid)
	}
	v, err := l.Create(ctx, vvol.CreateSpec{Container: "default", Size: mib, PolicySpec: vvol.PolicySpec{ServiceLevel: "bronze"}})
	require.NoError(t, err)
	for range 8 {
		_, err = l.Snapshot(ctx, v.ID, vvol.SnapshotSpec{})
		require.NoError(t, err)
	}
	_, err = l.Snapshot(ctx, v.ID, vvol.SnapshotSpec{})
	require.ErrorIs(t, err, vvol.ErrTooManySnapshots)
	require.Len(t, l.SnapshotsOf(v.ID), 8)
}

func TestMetadataLimits(t *testing.T) {
	l := newLab(t, 1)
	many := map[string]string{}
	for i := range 257 {
		many[fmt.Sprint(i)] = ""
	}
	for what, m := range map[string]map[string]string{
		"pairs": many, "key": {"": "v"}, "255": {strings.Repeat("k", 256): ""}, "UTF-8": {"k": "\xff"},
		"bytes of metadata": {"k": strings.Repeat("v", 64<<10)},
	} {
		_, err := l.Create(t.Context(), vvol.CreateSpec{Container: "default", Size: mib, Metadata: m})
		require.ErrorIs(t, err, vvol.ErrInvalid)
		require.ErrorContains(t, err, what)
	}
	_, err := l.Create(t.Context(), vvol.CreateSpec{Container: "default", Size: mib, Metadata: map[string]string{"k": strings.Repeat("\x01", 60<<10)}})
	require.NoError(t, err, "the row of the largest metadata fits, whatever JSON makes of it")
}

// What callers get is theirs: changing it changes nothing in the catalog.
func TestResultsAreCopies(t *testing.T) {
	l := newLab(t, 1)
	m := map[string]string{"k": "v"}
	v, err := l.Create(t.Context(), vvol.CreateSpec{Container: "default", Size: mib, Metadata: m})
	require.NoError(t, err)
	m["k"], v.Metadata["k"] = "x", "y"
	l.VVols(vvol.Filter{})[0].Metadata["k"] = "z"
	l.Containers()[0].ServiceLevels[0].Name = "x"
	require.NoError(t, l.SawInitiator(t.Context(), iqn))
	l.Hosts()[0].Initiators[0] = "x"
	v, err = l.VVol(v.ID)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"k": "v"}, v.Metadata)
	l.verify()
}

func TestIDsGivenByTheCaller(t *testing.T) {
	l := newLab(t, 1)
	id, err := vvol.ParseID("rfc4122.269d3378-1ca6-4175-a18f-6d4839e5c746")
	require.NoError(t, err)
	spec := vvol.CreateSpec{Container: "default", Size: mib, ID: id}
	v, err := l.Create(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, id, v.ID)
	_, err = l.Create(t.Context(), spec)
	require.ErrorIs(t, err, vvol.ErrExists)
	_, err = l.Clone(t.Context(), id, vvol.CloneSpec{ID: id})
	require.ErrorIs(t, err, vvol.ErrExists)
	found, err := l.Find(id.String())
	require.NoError(t, err)
	require.Equal(t, v, found)
	l.verify()
}

// The snapshots of a set are of one instant, in one engine call.
func TestSnapshotSet(t *testing.T) {
	l := newLab(t, 1)
	a, b := l.create("a", 4), l.create("b", 4)
	made, err := l.SnapshotSet(t.Context(), []vvol.SnapshotItem{{VVol: b.ID}, {VVol: a.ID, SnapshotSpec: vvol.SnapshotSpec{Writable: true}}})
	require.NoError(t, err)
	require.Equal(t, b.ID, made[0].SnapshotOf)
	require.True(t, made[0].ReadOnly)
	require.Equal(t, a.ID, made[1].SnapshotOf)
	require.NoError(t, l.write(made[1].ID, 0, 'w'))
	require.ErrorIs(t, l.write(made[0].ID, 0, 'w'), store.ErrReadOnly)
	_, err = l.SnapshotSet(t.Context(), nil)
	require.ErrorIs(t, err, vvol.ErrInvalid)
	_, err = l.SnapshotSet(t.Context(), make([]vvol.SnapshotItem, 2000))
	require.ErrorIs(t, err, vvol.ErrTooMany)
}

// Deleting a volume removes its reservations; those of others stay.
func TestReservationState(t *testing.T) {
	ctx := t.Context()
	l := newLab(t, 1)
	a, b := l.create("a", 1), l.create("b", 1)
	pe := l.endpoints.pes[0].ID
	require.NoError(t, l.SaveReservationState(ctx, a.ID, []byte("a")))
	require.NoError(t, l.SaveReservationState(ctx, b.ID, []byte("b")))
	require.NoError(t, l.SaveEndpointReservationState(ctx, pe, []byte("pe")))
	require.ErrorIs(t, l.SaveEndpointReservationState(ctx, "pe0", nil), vvol.ErrInvalid)
	l.restart()
	require.NoError(t, l.Delete(ctx, a.ID))
	require.ErrorIs(t, l.SaveReservationState(ctx, a.ID, []byte("late")), vvol.ErrNotFound)
	state, err := l.ReservationState(a.ID)
	require.NoError(t, err)
	require.Nil(t, state)
	state, err = l.ReservationState(b.ID)
	require.NoError(t, err)
	require.Equal(t, "b", string(state))
	state, err = l.EndpointReservationState(pe)
	require.NoError(t, err)
	require.Equal(t, "pe", string(state))
	require.NoError(t, l.SaveReservationState(ctx, b.ID, nil))
	state, err = l.ReservationState(b.ID)
	require.NoError(t, err)
	require.Nil(t, state)
	l.verify()
}

// The row is committed before the route is made, and there until it is withdrawn.
func TestAttachAfterCommitDetachBefore(t *testing.T) {
	ctx := t.Context()
	l := newLab(t, 1)
	v := l.create("v", 1)
	seen := 0
	l.endpoints.onAttach = func(b vvol.Binding, _ vvol.Endpoints) {
		require.Equal(t, []vvol.Binding{b}, l.Bindings(vvol.BindingFilter{}))
		seen++
	}
	l.endpoints.draining = func(ctx context.Context) error {
		require.Len(t, l.Bindings(vvol.BindingFilter{VVol: &v.ID}), 1)
		_, bounded := ctx.Deadline()
		require.True(t, bounded)
		seen++
		return nil
	}
	_, err := l.Bind(ctx, v.ID, iqn)
	require.NoError(t, err)
	require.NoError(t, l.Unbind(ctx, v.ID, iqn))
	require.Equal(t, 2, seen)

	// What cannot be detached stays bound, and attached.
	b, err := l.Bind(ctx, v.ID, iqn)
	require.NoError(t, err)
	l.endpoints.draining = func(context.Context) error { return errors.New("stuck") }
	require.ErrorIs(t, l.Unbind(ctx, v.ID, iqn), vvol.ErrBusy)
	require.ErrorIs(t, l.UnbindByID(ctx, b.ID), vvol.ErrBusy)
	l.verify()
	l.endpoints.draining = nil
	require.NoError(t, l.UnbindByID(ctx, b.ID))
	require.ErrorIs(t, l.UnbindByID(ctx, b.ID), vvol.ErrNotFound)
	l.verify()
}

// A volume that cannot be attached does not keep the others from starting.
func TestStartGoesOn(t *testing.T) {
	ctx := t.Context()
	l := newLab(t, 2)
	v, w := l.create("v", 1), l.create("w", 1)
	first, err := l.Bind(ctx, v.ID, iqn)
	require.NoError(t, err)
	_, err = l.Bind(ctx, w.ID, iqn)
	require.NoError(t, err)
	_, err = l.MapLUN(ctx, w.ID, nil)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	pes := l.endpoints.pes
	l.endpoints = newEndpoints(t, 0)
	l.endpoints.pes = pes
	l.endpoints.refuse = errors.New("no route")
	l.open(vvol.Options{})
	require.NoError(t, l.Start(ctx))
	bindings, luns := l.Unattached()
	require.Len(t, bindings, 2)
	require.Len(t, luns, 1)
	l.endpoints.refuse = nil
	b, err := l.Bind(ctx, v.ID, iqn)
	require.NoError(t, err)
	require.Equal(t, first, b, "the binding the host has is made good")
	require.NoError(t, l.Start(ctx))
	l.verify()
}

func TestNoEndpoints(t *testing.T) {
	l := newLab(t, 0)
	_, err := l.Bind(t.Context(), l.create("v", 1).ID, iqn)
	require.ErrorIs(t, err, vvol.ErrInvalid)
}

func TestCloseAndCancel(t *testing.T) {
	l := newLab(t, 1)
	v := l.create("v", 1)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := l.Bind(gone, v.ID, iqn)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	_, err = l.Bind(t.Context(), v.ID, iqn)
	require.ErrorIs(t, err, vvol.ErrNotActive)
	require.ErrorIs(t, l.Delete(t.Context(), v.ID), vvol.ErrNotActive)
	_, err = l.VVol(v.ID)
	require.NoError(t, err, "queries still answer")
}

// A copy holds no lock and keeps its volumes from being deleted or changed.
func TestCopyDiffs(t *testing.T) {
	ctx := t.Context()
	l := newLab(t, 1)
	src, dst := l.create("src", 4), l.create("dst", 4)
	base, err := l.Snapshot(ctx, src.ID, vvol.SnapshotSpec{})
	require.NoError(t, err)
	require.NoError(t, l.write(src.ID, 5, 's'))
	require.NoError(t, l.Close())
	slow := &copyingEngine{Engine: l.engine, at: make(chan struct{}), on: make(chan struct{})}
	l.open(vvol.Options{Engine: slow})
	ended := make(chan error, 1)
	go func() { ended <- l.CopyDiffs(ctx, src.ID, base.ID, dst.ID) }()
	<-slow.at
	require.ErrorIs(t, l.Delete(ctx, base.ID), vvol.ErrInUse)
	_, err = l.Revert(ctx, src.ID, base.ID)
	require.ErrorIs(t, err, vvol.ErrBusy)
	_, err = l.Resize(ctx, dst.ID, 8*mib)
	require.ErrorIs(t, err, vvol.ErrBusy)
	_, err = l.Bind(ctx, dst.ID, iqn)
	require.NoError(t, err)
	running := l.Tasks()[len(l.Tasks())-1]
	require.Equal(t, vvol.TaskRunning, running.State)
	require.NoError(t, l.Check(ctx))
	close(slow.on)
	require.NoError(t, <-ended)
	done, err := l.Task(running.ID)
	require.NoError(t, err)
	require.Equal(t, vvol.TaskSuccess, done.State)
	require.Equal(t, byte('s'), l.read(dst.ID, 5))
	require.NoError(t, l.Delete(ctx, base.ID))
	l.verify()
	_, err = l.Task("copy-diffs:9999")
	require.ErrorIs(t, err, vvol.ErrNotFound)
}

// A watched operation's task has the caller's name and can be asked for by its id, over a
// restart too; a cancelled one says so.
func TestWatchTask(t *testing.T) {
	l := newLab(t, 1)
	src, dst := l.create("src", 4), l.create("dst", 4)
	ctx, w := vvol.WatchTask(t.Context(), "prepareToSnapshotVirtualVolume")
	require.Empty(t, w.ID())
	snap, err := l.PrepareSnapshot(ctx, src.ID, vvol.SnapshotSpec{})
	require.NoError(t, err)
	_, err = l.TakePrepared(t.Context(), []vvol.PreparedItem{{Snapshot: snap.ID}})
	require.NoError(t, err)
	require.NoError(t, l.write(src.ID, 5, 's'))

	ctx, refused := vvol.WatchTask(t.Context(), "deleteVirtualVolume")
	require.ErrorIs(t, l.Delete(ctx, vvol.ID{1}), vvol.ErrNotFound)
	require.Empty(t, refused.ID())
	noted, err := l.NoteTask(t.Context(), "resizeVirtualVolume", src.ID, "")
	require.NoError(t, err)

	require.NoError(t, l.Close())
	slow := &copyingEngine{Engine: l.engine, at: make(chan struct{}), on: make(chan struct{})}
	l.open(vvol.Options{Engine: slow})
	ctx, cancel := context.WithCancel(t.Context())
	ctx, copying := vvol.WatchTask(ctx, "copyDiffsToVirtualVolume")
	ended := make(chan error, 1)
	go func() { ended <- l.CopyDiffs(ctx, src.ID, snap.ID, dst.ID) }()
	<-copying.Started()
	<-slow.at
	require.NotEmpty(t, copying.ID())
	cancel()
	close(slow.on)
	require.ErrorIs(t, <-ended, context.Canceled)

	for id, want := range map[string]vvol.Task{
		w.ID():       {Name: "prepareToSnapshotVirtualVolume", State: vvol.TaskSuccess, Result: snap.ID.String()},
		noted.ID:     {Name: "resizeVirtualVolume", State: vvol.TaskSuccess},
		copying.ID(): {Name: "copyDiffsToVirtualVolume", State: vvol.TaskError, Cancelled: true},
	} {
		got, err := l.Task(id)
		require.NoError(t, err, id)
		require.Equal(t, want, vvol.Task{Name: got.Name, State: got.State, Result: got.Result, Cancelled: got.Cancelled}, id)
	}
	l.verify()
}

// copyingEngine stops at each CopyFrom until on is closed.
type copyingEngine struct {
	store.Engine
	at, on chan struct{}
}

func (e *copyingEngine) Open(ctx context.Context, id store.ID) (store.Object, error) {
	o, err := e.Engine.Open(ctx, id)
	return &copyingObject{o, e}, err
}

type copyingObject struct {
	store.Object
	e *copyingEngine
}

func (o *copyingObject) CopyFrom(ctx context.Context, off uint64, src store.Object, srcOff, n uint64) error {
	o.e.at <- struct{}{}
	<-o.e.on
	return o.Object.CopyFrom(ctx, off, src.(*copyingObject).Object, srcOff, n)
}

func TestSubscribe(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := newLab(t, 1)
	quick, slow := l.Subscribe(ctx), l.Subscribe(t.Context())
	l.create("a", 1)
	e := <-quick
	require.Equal(t, "vvol.created", e.Kind)
	require.Equal(t, l.Events(e.Serial, 1)[0], e)
	cancel()
	for range quick { // ends when the channel is closed
	}
	const n = 300
	for i := range n {
		l.create(fmt.Sprint(i), 1)
	}
	// The slow reader finds the first 256 events and, with the next one, the gap.
	var last uint64
	for range 256 {
		e := <-slow
		require.NotEqual(t, vvol.GapEvent, e.Kind)
		last = e.Serial
	}
	l.create("next", 1)
	gap, next := <-slow, <-slow
	require.Equal(t, vvol.GapEvent, gap.Kind)
	require.Equal(t, fmt.Sprintf("%d events lost", gap.Serial-last), gap.Message)
	require.Equal(t, gap.Serial+1, next.Serial)
	require.NoError(t, l.Close())
	_, open := <-slow
	require.False(t, open)
	_, open = <-l.Subscribe(t.Context())
	require.False(t, open, "nothing to come from a closed service")
}

// Check finds what it is there to find.
func TestCheckFinds(t *testing.T) {
	ctx := t.Context()
	damage := map[string]func(l *lab, v vvol.VirtualVolume) error{
		"differs between memory and Meta": func(l *lab, v vvol.VirtualVolume) error {
			return l.engine.Meta().Update(ctx, func(tx store.MetaTx) error {
				row, err := tx.Get([]byte("vvol/v/" + string(v.ID[:])))
				if err != nil {
					return err
				}
				return tx.Set([]byte("vvol/v/"+string(v.ID[:])), []byte(strings.Replace(string(row), `"name":"v"`, `"name":"w"`, 1)))
			})
		},
		"in memory only": func(l *lab, v vvol.VirtualVolume) error {
			return l.engine.Meta().Update(ctx, func(tx store.MetaTx) error { return tx.Delete([]byte("vvol/v/" + string(v.ID[:]))) })
		},
		"reservation state of": func(l *lab, v vvol.VirtualVolume) error {
			return l.engine.Meta().Update(ctx, func(tx store.MetaTx) error {
				return tx.Set([]byte("vvol/r/rfc4122.00000000-0000-0000-0000-0000000000ff"), []byte("x"))
			})
		},
		"the engine has volume": func(l *lab, v vvol.VirtualVolume) error {
			return l.engine.Create(ctx, store.ID{9}, store.CreateOptions{Size: mib})
		},
		"no such volume":      func(l *lab, v vvol.VirtualVolume) error { return l.engine.Delete(ctx, store.ID(v.ID)) },
		"in the engine 16384": func(l *lab, v vvol.VirtualVolume) error { return l.engine.Resize(ctx, store.ID(v.ID), 16384) },
	}
	for what, do := range damage {
		l := newLab(t, 1)
		v := l.create("v", 1)
		require.NoError(t, l.Check(ctx))
		require.NoError(t, do(l, v))
		err := l.Check(ctx)
		require.ErrorIs(t, err, vvol.ErrStorage, what)
		require.ErrorContains(t, err, what)
	}
}
