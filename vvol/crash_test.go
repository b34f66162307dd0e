package vvol_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vvol"
	"vvsim/vvol/store"
)

var errCrashed = errors.New("the process is gone")

// crash counts the steps of an operation, which are the calls that change
// something outside memory, and ends the process at the step with number at: before it is
// done, or after it but before anybody hears of it.
type crash struct {
	mu    sync.Mutex
	at    int // 0: never
	after bool
	once  bool // the step fails and the process lives
	steps int
	dead  bool
}

// arm begins to count steps.
func (c *crash) arm(at int, after bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.after, c.steps = at, after, 0
}

// step returns what to do with the step's outcome, nil when it does not happen.
func (c *crash) step() (end func(error) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return nil
	}
	c.steps++
	if c.steps != c.at {
		return func(err error) error { return err }
	}
	c.dead = !c.once
	if !c.after {
		return nil
	}
	return func(error) error { return errCrashed }
}

func (c *crash) do(f func() error) error {
	end := c.step()
	if end == nil {
		return errCrashed
	}
	return end(f())
}

// crashingEngine takes its steps through a crash.
type crashingEngine struct {
	store.Engine
	crash *crash
}

func (e crashingEngine) Create(ctx context.Context, id store.ID, o store.CreateOptions) error {
	return e.crash.do(func() error { return e.Engine.Create(ctx, id, o) })
}

func (e crashingEngine) Delete(ctx context.Context, id store.ID) error {
	return e.crash.do(func() error { return e.Engine.Delete(ctx, id) })
}

func (e crashingEngine) Snapshot(ctx context.Context, specs []store.SnapshotSpec) error {
	return e.crash.do(func() error { return e.Engine.Snapshot(ctx, specs) })
}

func (e crashingEngine) Clone(ctx context.Context, src, dst store.ID, pool store.Pool) error {
	return e.crash.do(func() error { return e.Engine.Clone(ctx, src, dst, pool) })
}

func (e crashingEngine) Revert(ctx context.Context, id, snapshot store.ID) error {
	return e.crash.do(func() error { return e.Engine.Revert(ctx, id, snapshot) })
}

func (e crashingEngine) Resize(ctx context.Context, id store.ID, size uint64) error {
	return e.crash.do(func() error { return e.Engine.Resize(ctx, id, size) })
}

func (e crashingEngine) Meta() store.Meta { return crashingMeta{e.Engine.Meta(), e.crash} }

type crashingMeta struct {
	store.Meta
	crash *crash
}

func (m crashingMeta) Update(ctx context.Context, f func(store.MetaTx) error) error {
	return m.crash.do(func() error { return m.Meta.Update(ctx, f) })
}

// stage is the array that each operation of the table starts from.
type stage struct {
	*lab
	disk, other, thick, snapshot, prepared vvol.VirtualVolume
	binding                                vvol.Binding
}

func newStage(t *testing.T) *stage {
	ctx := context.Background()
	s := &stage{lab: newLab(t, 2)}
	s.disk, s.other = s.create("disk", 4), s.create("other", 8)
	var err error
	s.thick, err = s.Create(ctx, vvol.CreateSpec{Container: "default", Size: 2 * mib, Name: "thick", ServiceLevel: "thick"})
	require.NoError(t, err)
	require.NoError(t, s.write(s.disk.ID, 0, 'a'))
	s.snapshot, err = s.Snapshot(ctx, s.disk.ID, vvol.SnapshotSpec{Name: "snap"})
	require.NoError(t, err)
	require.NoError(t, s.write(s.disk.ID, 0, 'b'))
	s.prepared, err = s.PrepareSnapshot(ctx, s.other.ID, vvol.SnapshotSpec{Name: "prepared"})
	require.NoError(t, err)
	s.binding, err = s.Bind(ctx, s.other.ID, iqn+"1")
	require.NoError(t, err)
	_, err = s.MapLUN(ctx, s.other.ID, nil)
	require.NoError(t, err)
	require.NoError(t, s.SaveReservationState(ctx, s.disk.ID, []byte("keys")))
	return s
}

// touch asks for nothing of each volume.
func (s *stage) touch() {
	for _, v := range []vvol.VirtualVolume{s.disk, s.other, s.thick, s.snapshot, s.prepared} {
		if _, err := s.Update(context.Background(), v.ID, vvol.UpdateSpec{}); !errors.Is(err, vvol.ErrNotFound) {
			require.NoError(s.t, err)
		}
	}
}

// view is what queries tell, without what differs by time and number.
func (s *stage) view() []string {
	var list []string
	for _, k := range s.Containers() {
		list = append(list, fmt.Sprint("container ", k.Name, k.Size))
	}
	for _, v := range s.VVols(vvol.Filter{Prepared: true}) {
		first := byte('?')
		if v.State != vvol.Prepared {
			first = s.read(v.ID, 0)
		}
		list = append(list, fmt.Sprintf("vvol %s %d %s %s parent=%v snapshotOf=%v %v first=%q", v.Name, v.Size, v.State,
			v.ServiceLevel, v.Parent, v.SnapshotOf, v.Metadata, first))
	}
	for _, b := range s.Bindings(vvol.BindingFilter{}) {
		list = append(list, fmt.Sprint("binding ", b.VVol, b.Host))
	}
	for _, m := range s.LUNMappings() {
		list = append(list, fmt.Sprint("lun ", m))
	}
	for _, h := range s.Hosts() {
		list = append(list, fmt.Sprint("host ", h.ID))
	}
	for _, v := range s.VVols(vvol.Filter{}) {
		state, err := s.ReservationState(v.ID)
		require.NoError(s.t, err)
		list = append(list, fmt.Sprintf("reservations %s", state))
	}
	return list
}

// Crash before and after every step of every operation, start again: all
// invariants hold, no intent and no running task is left, and the array is as
// before the operation or as after it: after it, when it was acknowledged.
func TestCrashAtEveryStep(t *testing.T) {
	for _, op := range crashOperations() {
		t.Run(op.name, func(t *testing.T) {
			steps := 0
			for at := 0; at <= steps; at++ { // at 0 nothing crashes, which counts the steps
				for _, after := range []bool{false, true} {
					n := crashOnce(t, at, after, op.run)
					if at == 0 {
						steps = n
					}
				}
			}
			require.Positive(t, steps)
		})
	}
}

// Every step of every operation fails once and the process goes on: the
// operation reports it, all invariants hold, the array is as before or as after
// the operation, and the operation works when it is asked for again.
func TestFailureAtEveryStep(t *testing.T) {
	for _, op := range crashOperations() {
		t.Run(op.name, func(t *testing.T) {
			for at := 1; ; at++ {
				s, c := newCrashStage(t)
				before := s.view()
				c.once = true
				c.arm(at, false)
				err := op.run(t.Context(), s)
				if c.steps < at {
					require.NoError(t, err)
					break
				}
				require.NoError(t, s.Check(t.Context()))
				whole := newStage(t)
				require.NoError(t, op.run(t.Context(), whole))
				if err == nil { // a step that may be made good later
					require.ElementsMatch(t, whole.view(), s.view())
				} else {
					require.ErrorIs(t, err, errCrashed, "step %d failed", at)
					s.touch() // the next operation on a volume settles it
				}
				if now := s.view(); fmt.Sprint(now) == fmt.Sprint(before) {
					require.NoError(t, op.run(t.Context(), s))
				}
				s.verify()
				require.ElementsMatch(t, whole.view(), s.view())
				s.restart()
				s.verify()
				require.ElementsMatch(t, whole.view(), s.view())
			}
		})
	}
}

// crashOperation is one operation on a stage, which changes what its view tells.
type crashOperation struct {
	name string
	run  func(ctx context.Context, s *stage) error
}

func crashOperations() []crashOperation {
	str := func(s string) *string { return &s }
	return []crashOperation{
		{"create container", func(ctx context.Context, s *stage) error {
			_, err := s.CreateContainer(ctx, vvol.ContainerSpec{Name: "new", Size: gib})
			return err
		}},
		{"resize container", func(ctx context.Context, s *stage) error {
			_, err := s.ResizeContainer(ctx, "default", 2*gib)
			return err
		}},
		{"create", func(ctx context.Context, s *stage) error {
			_, err := s.Create(ctx, vvol.CreateSpec{Container: "default", Size: mib, Name: "new"})
			return err
		}},
		{"create thick", func(ctx context.Context, s *stage) error {
			_, err := s.Create(ctx, vvol.CreateSpec{Container: "default", Size: mib, Name: "new", ServiceLevel: "thick"})
			return err
		}},
		{"update", func(ctx context.Context, s *stage) error {
			_, err := s.Update(ctx, s.disk.ID, vvol.UpdateSpec{Name: str("renamed"), Metadata: map[string]*string{"k": str("v")}})
			return err
		}},
		{"resize", func(ctx context.Context, s *stage) error {
			_, err := s.Resize(ctx, s.other.ID, 16*mib)
			return err
		}},
		{"shrink", func(ctx context.Context, s *stage) error {
			_, err := s.Resize(ctx, s.disk.ID, 2*mib)
			return err
		}},
		{"resize thick", func(ctx context.Context, s *stage) error {
			_, err := s.Resize(ctx, s.thick.ID, 4*mib)
			return err
		}},
		{"snapshot set", func(ctx context.Context, s *stage) error {
			_, err := s.SnapshotSet(ctx, []vvol.SnapshotItem{{VVol: s.disk.ID, SnapshotSpec: vvol.SnapshotSpec{Name: "s1"}},
				{VVol: s.thick.ID, SnapshotSpec: vvol.SnapshotSpec{Name: "s2"}}})
			return err
		}},
		{"prepare", func(ctx context.Context, s *stage) error {
			_, err := s.PrepareSnapshot(ctx, s.disk.ID, vvol.SnapshotSpec{Name: "p"})
			return err
		}},
		{"take prepared", func(ctx context.Context, s *stage) error {
			_, err := s.TakePrepared(ctx, []vvol.PreparedItem{{Snapshot: s.prepared.ID, Metadata: map[string]string{"k": "v"}}})
			return err
		}},
		{"clone", func(ctx context.Context, s *stage) error {
			_, err := s.Clone(ctx, s.snapshot.ID, vvol.CloneSpec{Name: "c"})
			return err
		}},
		{"fast clone of thick", func(ctx context.Context, s *stage) error {
			_, err := s.FastClone(ctx, s.thick.ID, vvol.CloneSpec{Name: "f", ServiceLevel: "default"})
			return err
		}},
		{"revert", func(ctx context.Context, s *stage) error {
			_, err := s.Revert(ctx, s.disk.ID, s.snapshot.ID)
			return err
		}},
		{"delete", func(ctx context.Context, s *stage) error { return s.Delete(ctx, s.disk.ID) }},
		{"delete thick", func(ctx context.Context, s *stage) error { return s.Delete(ctx, s.thick.ID) }},
		{"delete prepared", func(ctx context.Context, s *stage) error { return s.Delete(ctx, s.prepared.ID) }},
		{"bind", func(ctx context.Context, s *stage) error {
			_, err := s.Bind(ctx, s.disk.ID, iqn+"1")
			return err
		}},
		{"unbind", func(ctx context.Context, s *stage) error { return s.Unbind(ctx, s.other.ID, iqn+"1") }},
		{"map", func(ctx context.Context, s *stage) error {
			_, err := s.MapLUN(ctx, s.disk.ID, nil)
			return err
		}},
		{"unmap", func(ctx context.Context, s *stage) error { return s.UnmapLUN(ctx, 0) }},
		{"reservations", func(ctx context.Context, s *stage) error {
			return s.SaveReservationState(ctx, s.disk.ID, []byte("new keys"))
		}},
	}
}

// newCrashStage is a stage whose next steps go through a crash, not yet armed.
func newCrashStage(t *testing.T) (*stage, *crash) {
	s, c := newStage(t), &crash{}
	require.NoError(t, s.Close())
	s.endpoints = newEndpoints(t, 2)
	s.open(vvol.Options{Engine: crashingEngine{s.engine, c}})
	require.NoError(t, s.Start(context.Background()))
	s.endpoints.step = c.step
	return s, c
}

// crashOnce runs the operation with a crash and the start after it, and returns
// the steps seen.
func crashOnce(t *testing.T, at int, after bool, run func(context.Context, *stage) error) int {
	ctx := context.Background()
	s, c := newCrashStage(t)
	before := s.view()
	c.arm(at, after)
	err := run(ctx, s)
	steps := c.steps
	if at == 0 {
		require.NoError(t, err)
		s.verify()
	}
	s.endpoints.step = nil
	s.restart()
	s.verify()
	for _, task := range s.Tasks() {
		require.Contains(t, []vvol.TaskState{vvol.TaskSuccess, vvol.TaskError}, task.State, "%v", task)
	}
	now := s.view()
	if at == 0 {
		require.NotEqual(t, before, now)
		return steps
	}
	// As before, or as the operation leaves it.
	whole := newStage(t)
	require.NoError(t, run(ctx, whole))
	if done := whole.view(); err == nil || fmt.Sprint(now) != fmt.Sprint(before) {
		require.ElementsMatch(t, done, now, "crash at step %d (after: %t)", at, after)
	}
	// And what was asked for can be asked for again.
	if fmt.Sprint(now) == fmt.Sprint(before) {
		require.Error(t, err)
		require.NoError(t, run(ctx, s))
		s.verify()
		require.ElementsMatch(t, whole.view(), s.view())
	}
	return steps
}
