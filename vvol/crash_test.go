package vvol_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
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

	look func() // looks on before and after each step that leaves the catalog free, while the process lives
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

// observed is do of a step during which the catalog may be looked at.
func (c *crash) observed(f func() error) error {
	look := func() {
		c.mu.Lock()
		look := c.look
		if c.dead {
			look = nil
		}
		c.mu.Unlock()
		if look != nil {
			look()
		}
	}
	look()
	err := c.do(f)
	look()
	return err
}

// crashingEngine takes its steps through a crash.
type crashingEngine struct {
	store.Engine
	crash *crash
}

func (e crashingEngine) Create(ctx context.Context, id store.ID, o store.CreateOptions) error {
	return e.crash.observed(func() error { return e.Engine.Create(ctx, id, o) })
}

func (e crashingEngine) Delete(ctx context.Context, id store.ID) error {
	return e.crash.observed(func() error { return e.Engine.Delete(ctx, id) })
}

func (e crashingEngine) Snapshot(ctx context.Context, specs []store.SnapshotSpec) error {
	return e.crash.observed(func() error { return e.Engine.Snapshot(ctx, specs) })
}

func (e crashingEngine) Clone(ctx context.Context, src, dst store.ID, pool store.Pool) error {
	return e.crash.observed(func() error { return e.Engine.Clone(ctx, src, dst, pool) })
}

func (e crashingEngine) Revert(ctx context.Context, id, snapshot store.ID) error {
	return e.crash.observed(func() error { return e.Engine.Revert(ctx, id, snapshot) })
}

func (e crashingEngine) Resize(ctx context.Context, id store.ID, size uint64) error {
	return e.crash.observed(func() error { return e.Engine.Resize(ctx, id, size) })
}

func (e crashingEngine) SetPool(ctx context.Context, id store.ID, pool store.Pool) error {
	return e.crash.observed(func() error { return e.Engine.SetPool(ctx, id, pool) })
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
	disk, other, thick, snapshot, thickSnapshot, prepared vvol.VirtualVolume
	binding                                               vvol.Binding
}

func newStage(t *testing.T) *stage {
	ctx := context.Background()
	s := &stage{lab: newLab(t, 2)}
	s.disk, s.other = s.create("disk", 4), s.create("other", 8)
	var err error
	s.thick, err = s.Create(ctx, vvol.CreateSpec{Container: "default", Size: 2 * mib, Name: "thick", PolicySpec: vvol.PolicySpec{ServiceLevel: "thick"}})
	require.NoError(t, err)
	require.NoError(t, s.write(s.disk.ID, 0, 'a'))
	s.snapshot, err = s.Snapshot(ctx, s.disk.ID, vvol.SnapshotSpec{Name: "snap"})
	require.NoError(t, err)
	require.NoError(t, s.write(s.disk.ID, 0, 'b'))
	require.NoError(t, s.write(s.thick.ID, 0, 'a'))
	s.thickSnapshot, err = s.Snapshot(ctx, s.thick.ID, vvol.SnapshotSpec{Name: "thick snap"})
	require.NoError(t, err)
	require.NoError(t, s.write(s.thick.ID, 0, 'b'))
	_, err = s.CreateContainer(ctx, vvol.ContainerSpec{Name: "empty", Size: gib})
	require.NoError(t, err)
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
	for _, v := range []vvol.VirtualVolume{s.disk, s.other, s.thick, s.snapshot, s.thickSnapshot, s.prepared} {
		if _, err := s.Update(context.Background(), v.ID, vvol.UpdateSpec{}); !errors.Is(err, vvol.ErrNotFound) {
			require.NoError(s.t, err)
		}
	}
}

// view is what queries tell, without what differs by time and number.
func (s *stage) view() []string {
	var list []string
	for _, k := range s.Containers() {
		list = append(list, fmt.Sprint("container ", k.Name, k.Size, k.ServiceLevels))
	}
	for _, v := range s.VVols(vvol.Filter{Prepared: true}) {
		first := byte('?')
		if v.State != vvol.Prepared {
			first = s.read(v.ID, 0)
		}
		list = append(list, fmt.Sprintf("vvol %s %d %s %s %v %v parent=%v snapshotOf=%v %v first=%q", v.Name, v.Size, v.State,
			v.ServiceLevel, v.Quality, v.Policy, v.Parent, v.SnapshotOf, v.Metadata, first))
	}
	for _, b := range s.Bindings(vvol.BindingFilter{}) {
		list = append(list, fmt.Sprint("binding ", b.VVol, b.Host))
	}
	for _, m := range s.LUNMappings() {
		list = append(list, fmt.Sprint("lun ", m))
	}
	for _, h := range s.Hosts() {
		list = append(list, fmt.Sprint("host ", h.ID, h.GUID, h.Initiators))
	}
	for _, v := range s.VVols(vvol.Filter{}) {
		state, err := s.ReservationState(v.ID)
		require.NoError(s.t, err)
		list = append(list, fmt.Sprintf("reservations %s", state))
	}
	state, err := s.EndpointReservationState(s.endpoints.pes[0].ID)
	require.NoError(s.t, err)
	return append(list, fmt.Sprintf("reservations of the endpoint %s", state))
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
					n := crashOnce(t, at, after, op)
					if at == 0 {
						steps = n
					}
				}
			}
			require.Positive(t, steps)
		})
	}
}

// The start after a crash crashes as well, at every one of its steps: the one
// after that finds everything in order all the same.
func TestCrashInRecovery(t *testing.T) {
	for _, op := range crashOperations() {
		t.Run(op.name, func(t *testing.T) {
			done := op.outcome(t)
			for at := 1; ; at++ {
				if !crashTwice(t, at, op, done) {
					return
				}
			}
		})
	}
}

// crashTwice crashes after step at of the operation, then at each step of the
// start; false when the operation has no such step.
func crashTwice(t *testing.T, at int, op crashOperation, done []string) bool {
	for second := 1; ; second++ {
		s, c := newCrashStage(t)
		before := s.view()
		c.arm(at, true)
		err := op.run(t.Context(), s)
		if c.steps < at {
			return false
		}
		require.NoError(t, s.Close())
		again := &crash{}
		again.arm(second, second%2 == 0)
		s.endpoints = newEndpoints(t, 2)
		s.endpoints.do = again.do
		started, failed := vvol.Open(t.Context(), s.options(crashingEngine{s.engine, again}))
		if failed == nil {
			s.Service = started
			failed = s.Start(t.Context())
		}
		s.endpoints.do = nil
		s.restart()
		s.verify()
		requireOutcome(t, err, before, s.view(), done, "crashes at steps %d and %d", at, second)
		if !again.dead {
			require.NoError(t, failed)
			return true
		}
	}
}

// requireOutcome demands that things are as before or as done: as done, when
// that was acknowledged.
func requireOutcome(t *testing.T, err error, before, now, done []string, format string, args ...any) {
	t.Helper()
	if err == nil || fmt.Sprint(now) != fmt.Sprint(before) {
		require.ElementsMatch(t, done, now, fmt.Sprintf(format, args...))
	}
}

// Every step of every operation fails once and the process goes on: the
// operation reports it, all invariants hold, the array is as before or as after
// the operation, and the operation works when it is asked for again.
func TestFailureAtEveryStep(t *testing.T) {
	for _, op := range crashOperations() {
		t.Run(op.name, func(t *testing.T) {
			done := op.outcome(t)
			for at := 1; failOnce(t, at, op, done); at++ {
			}
		})
	}
}

// failOnce lets step at of the operation fail; false when it has no such step.
func failOnce(t *testing.T, at int, op crashOperation, done []string) bool {
	s, c := newCrashStage(t)
	before := s.view()
	c.once = true
	c.arm(at, false)
	err := op.run(t.Context(), s)
	if c.steps < at {
		require.NoError(t, err)
		return false
	}
	require.NoError(t, s.Check(t.Context()))
	if err == nil { // a step that may be made good later
		require.ElementsMatch(t, done, s.view())
	} else {
		require.ErrorIs(t, err, errCrashed, "step %d failed", at)
		s.touch() // the next operation on a volume settles it
	}
	if now := s.view(); fmt.Sprint(now) == fmt.Sprint(before) {
		require.NoError(t, op.run(t.Context(), s))
	}
	s.verify()
	require.ElementsMatch(t, done, s.view())
	s.restart()
	s.verify()
	require.ElementsMatch(t, done, s.view())
	return true
}

// Every method of the Service that changes something is in the table of
// operations, or is no more than another one.
func TestEveryOperationCrashes(t *testing.T) {
	others := []string{"Check", "Close", "Compliance", "ContainerUsage", "Ranges", "Subscribe", "Usage", // queries
		"Tend",           // what it forgets, PrepareSnapshot forgets as well
		"Start",          // crashes in TestCrashInRecovery
		"EnsureDefaults", // CreateContainer
		"Snapshot",       // SnapshotSet of one
		"NoteTask",       // one row, of a task that is over
	}
	covered := map[string]bool{}
	for _, op := range crashOperations() {
		covered[op.method] = true
	}
	service := reflect.TypeFor[*vvol.Service]()
	for i := range service.NumMethod() {
		m := service.Method(i)
		changes := m.Type.NumIn() > 1 && m.Type.In(1) == reflect.TypeFor[context.Context]() && !slices.Contains(others, m.Name)
		require.Equal(t, changes, covered[m.Name], "%s in the table of operations", m.Name)
	}
}

// crashOperation is one operation on a stage, which changes what its view tells.
type crashOperation struct {
	name, method string
	run          func(ctx context.Context, s *stage) error
}

// outcome is the view after the operation, when nothing goes wrong.
func (op crashOperation) outcome(t *testing.T) []string {
	s := newStage(t)
	require.NoError(t, op.run(t.Context(), s))
	return s.view()
}

func crashOperations() []crashOperation {
	return slices.Concat(containerOperations(), volumeOperations(), snapshotOperations(), bindingOperations())
}

func containerOperations() []crashOperation {
	return []crashOperation{
		{"create container", "CreateContainer", func(ctx context.Context, s *stage) error {
			_, err := s.CreateContainer(ctx, vvol.ContainerSpec{Name: "new", Size: gib})
			return err
		}},
		{"resize container", "ResizeContainer", func(ctx context.Context, s *stage) error {
			_, err := s.ResizeContainer(ctx, "default", 2*gib)
			return err
		}},
		{"update container", "UpdateContainer", func(ctx context.Context, s *stage) error {
			_, err := s.UpdateContainer(ctx, "default", vvol.ContainerUpdate{Size: 2 * gib, ServiceLevels: []vvol.ServiceLevel{{Name: "gold"}}})
			return err
		}},
		{"delete container", "DeleteContainer", func(ctx context.Context, s *stage) error {
			return s.DeleteContainer(ctx, "empty")
		}},
	}
}

func volumeOperations() []crashOperation {
	str := func(s string) *string { return &s }
	create := func(level string) func(context.Context, *stage) error {
		return func(ctx context.Context, s *stage) error {
			_, err := s.Create(ctx, vvol.CreateSpec{Container: "default", Size: mib, Name: "new", PolicySpec: vvol.PolicySpec{ServiceLevel: level}})
			return err
		}
	}
	resize := func(of func(*stage) vvol.VirtualVolume, size uint64) func(context.Context, *stage) error {
		return func(ctx context.Context, s *stage) error {
			_, err := s.Resize(ctx, of(s).ID, size)
			return err
		}
	}
	remove := func(of func(*stage) vvol.VirtualVolume) func(context.Context, *stage) error {
		return func(ctx context.Context, s *stage) error { return s.Delete(ctx, of(s).ID) }
	}
	setPolicy := func(of func(*stage) vvol.VirtualVolume, level string) func(context.Context, *stage) error {
		return func(ctx context.Context, s *stage) error {
			iops := uint64(500)
			_, err := s.SetPolicy(ctx, of(s).ID, vvol.PolicySpec{ServiceLevel: level, Quality: vvol.QualitySpec{MaxIOPS: &iops},
				Policy: vvol.Policy{ProfileID: "gold", Generation: 2}}, map[string]*string{"policy": str("gold:2")})
			return err
		}
	}
	return []crashOperation{
		{"create", "Create", create("default")},
		{"create thick", "Create", create("thick")},
		{"update", "Update", func(ctx context.Context, s *stage) error {
			_, err := s.Update(ctx, s.disk.ID, vvol.UpdateSpec{Name: str("renamed"), Metadata: map[string]*string{"k": str("v")}})
			return err
		}},
		{"update prepared", "Update", func(ctx context.Context, s *stage) error {
			_, err := s.Update(ctx, s.prepared.ID, vvol.UpdateSpec{Name: str("renamed")})
			return err
		}},
		{"resize bound", "Resize", resize(func(s *stage) vvol.VirtualVolume { return s.other }, 16*mib)},
		{"shrink", "Resize", resize(func(s *stage) vvol.VirtualVolume { return s.disk }, 2*mib)},
		{"resize thick", "Resize", resize(func(s *stage) vvol.VirtualVolume { return s.thick }, 4*mib)},
		{"delete", "Delete", remove(func(s *stage) vvol.VirtualVolume { return s.disk })},
		{"delete thick", "Delete", remove(func(s *stage) vvol.VirtualVolume { return s.thick })},
		{"delete snapshot", "Delete", remove(func(s *stage) vvol.VirtualVolume { return s.snapshot })},
		{"delete snapshot of thick", "Delete", remove(func(s *stage) vvol.VirtualVolume { return s.thickSnapshot })},
		{"delete prepared", "Delete", remove(func(s *stage) vvol.VirtualVolume { return s.prepared })},
		{"set policy", "SetPolicy", setPolicy(func(s *stage) vvol.VirtualVolume { return s.other }, "default")},
		{"thin to thick", "SetPolicy", setPolicy(func(s *stage) vvol.VirtualVolume { return s.disk }, "thick")},
		{"thick to thin", "SetPolicy", setPolicy(func(s *stage) vvol.VirtualVolume { return s.thick }, "default")},
		{"adjust policy", "AdjustPolicy", func(ctx context.Context, s *stage) error {
			_, err := s.AdjustPolicy(ctx, s.disk.ID, vvol.PolicySpec{Quality: vvol.QualitySpec{Durability: str(vvol.DurabilitySync)}})
			return err
		}},
		{"copy diffs", "CopyDiffs", func(ctx context.Context, s *stage) error {
			return s.CopyDiffs(ctx, s.disk.ID, s.snapshot.ID, s.other.ID)
		}},
		{"reservations", "SaveReservationState", func(ctx context.Context, s *stage) error {
			return s.SaveReservationState(ctx, s.disk.ID, []byte("new keys"))
		}},
		{"no reservations", "SaveReservationState", func(ctx context.Context, s *stage) error {
			return s.SaveReservationState(ctx, s.disk.ID, nil)
		}},
	}
}

func snapshotOperations() []crashOperation {
	return []crashOperation{
		{"snapshot set", "SnapshotSet", func(ctx context.Context, s *stage) error {
			_, err := s.SnapshotSet(ctx, []vvol.SnapshotItem{{VVol: s.disk.ID, SnapshotSpec: vvol.SnapshotSpec{Name: "s1"}},
				{VVol: s.thick.ID, SnapshotSpec: vvol.SnapshotSpec{Name: "s2"}},
				{VVol: s.snapshot.ID, SnapshotSpec: vvol.SnapshotSpec{Name: "s3", Writable: true}}})
			return err
		}},
		{"prepare", "PrepareSnapshot", func(ctx context.Context, s *stage) error {
			_, err := s.PrepareSnapshot(ctx, s.disk.ID, vvol.SnapshotSpec{Name: "p"})
			return err
		}},
		{"take prepared", "TakePrepared", func(ctx context.Context, s *stage) error {
			_, err := s.TakePrepared(ctx, []vvol.PreparedItem{{Snapshot: s.prepared.ID, Metadata: map[string]string{"k": "v"}}})
			return err
		}},
		{"clone", "Clone", func(ctx context.Context, s *stage) error {
			_, err := s.Clone(ctx, s.snapshot.ID, vvol.CloneSpec{Name: "c"})
			return err
		}},
		{"clone of thick elsewhere", "Clone", func(ctx context.Context, s *stage) error {
			_, err := s.Clone(ctx, s.thick.ID, vvol.CloneSpec{Name: "c", Container: "empty", PolicySpec: vvol.PolicySpec{ServiceLevel: "thick"}})
			return err
		}},
		{"fast clone of thick", "FastClone", func(ctx context.Context, s *stage) error {
			_, err := s.FastClone(ctx, s.thick.ID, vvol.CloneSpec{Name: "f", PolicySpec: vvol.PolicySpec{ServiceLevel: "default"}})
			return err
		}},
		{"revert", "Revert", func(ctx context.Context, s *stage) error {
			_, err := s.Revert(ctx, s.disk.ID, s.snapshot.ID)
			return err
		}},
		{"revert thick", "Revert", func(ctx context.Context, s *stage) error {
			_, err := s.Revert(ctx, s.thick.ID, s.thickSnapshot.ID)
			return err
		}},
	}
}

func bindingOperations() []crashOperation {
	return []crashOperation{
		{"bind", "Bind", func(ctx context.Context, s *stage) error {
			_, err := s.Bind(ctx, s.disk.ID, iqn+"1")
			return err
		}},
		{"bind host", "BindHost", func(ctx context.Context, s *stage) error {
			_, err := s.BindHost(ctx, s.disk.ID, iqn+"1")
			return err
		}},
		{"declare host", "DeclareHost", func(ctx context.Context, s *stage) error {
			_, err := s.DeclareHost(ctx, "4c4c4544", []string{iqn + "2", iqn + "1"}, false)
			return err
		}},
		{"unbind", "Unbind", func(ctx context.Context, s *stage) error { return s.Unbind(ctx, s.other.ID, iqn+"1") }},
		{"unbind by number", "UnbindByID", func(ctx context.Context, s *stage) error { return s.UnbindByID(ctx, s.binding.ID) }},
		{"unbind volume", "UnbindAll", func(ctx context.Context, s *stage) error { return s.UnbindAll(ctx, s.other.ID) }},
		{"unbind host", "UnbindHost", func(ctx context.Context, s *stage) error { return s.UnbindHost(ctx, s.binding.Host) }},
		{"map", "MapLUN", func(ctx context.Context, s *stage) error {
			_, err := s.MapLUN(ctx, s.disk.ID, nil)
			return err
		}},
		{"unmap", "UnmapLUN", func(ctx context.Context, s *stage) error { return s.UnmapLUN(ctx, 0) }},
		{"login", "SawInitiator", func(ctx context.Context, s *stage) error { return s.SawInitiator(ctx, iqn+"9") }},
		{"reservations of an endpoint", "SaveEndpointReservationState", func(ctx context.Context, s *stage) error {
			return s.SaveEndpointReservationState(ctx, s.endpoints.pes[0].ID, []byte("keys"))
		}},
	}
}

// newCrashStage is a stage whose next steps go through a crash, not yet armed.
// All invariants hold at each step.
func newCrashStage(t *testing.T) (*stage, *crash) {
	s, c := newStage(t), &crash{}
	require.NoError(t, s.Close())
	s.endpoints = newEndpoints(t, 2)
	s.open(vvol.Options{Engine: crashingEngine{s.engine, c}})
	require.NoError(t, s.Start(context.Background()))
	s.endpoints.do = c.observed
	c.look = func() {
		if err := s.Check(context.Background()); err != nil {
			t.Errorf("step %d: %v", c.steps, err)
		}
	}
	return s, c
}

// crashOnce runs the operation with a crash and the start after it, and returns
// the steps seen.
func crashOnce(t *testing.T, at int, after bool, op crashOperation) int {
	ctx := context.Background()
	s, c := newCrashStage(t)
	before := s.view()
	c.arm(at, after)
	err := op.run(ctx, s)
	steps := c.steps
	if at == 0 {
		require.NoError(t, err)
		s.verify()
	}
	s.endpoints.do = nil
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
	done := op.outcome(t)
	requireOutcome(t, err, before, now, done, "crash at step %d (after: %t)", at, after)
	// And what was asked for can be asked for again.
	if fmt.Sprint(now) == fmt.Sprint(before) {
		require.Error(t, err)
		require.NoError(t, op.run(ctx, s))
		s.verify()
		require.ElementsMatch(t, done, s.view())
	}
	return steps
}
