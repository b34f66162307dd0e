package vvol_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vvol"
	"vvsim/vvol/store"
)

// ptr is a value that is asked for.
func ptr[T any](v T) *T { return &v }

// newLevelLab has a container "k" of some blocks with levels "free" (thin, no bounds),
// "gold" (thin, all bounds) and "thick".
func newLevelLab(t *testing.T, blocks uint64) *lab {
	l := newLab(t, 1)
	_, err := l.CreateContainer(t.Context(), vvol.ContainerSpec{Name: "k", Size: blocks * block, ServiceLevels: []vvol.ServiceLevel{
		{Name: "free", Thin: true},
		{Name: "gold", Thin: true, MaxIOPS: 1000, MaxBytesPerSec: 1 << 20, SnapshotLimit: 2, Durability: vvol.DurabilitySync},
		{Name: "thick", SnapshotLimit: 8, WarnPercentUsed: 90}}})
	require.NoError(t, err)
	return l
}

func (l *lab) createWith(blocks uint64, spec vvol.PolicySpec) (vvol.VirtualVolume, error) {
	return l.Create(l.t.Context(), vvol.CreateSpec{Container: "k", Size: blocks * block, PolicySpec: spec})
}

// What a volume asks for within the bounds of a level it gets, and keeps over a restart.
func TestQualityWithinALevel(t *testing.T) {
	l := newLevelLab(t, 1<<20)
	for _, x := range []struct {
		name  string
		spec  vvol.PolicySpec
		level string
		want  vvol.Quality
		err   string
	}{
		{name: "nothing", level: "free", want: vvol.Quality{Durability: "flush"}},
		{name: "level", spec: vvol.PolicySpec{ServiceLevel: "gold"}, level: "gold",
			want: vvol.Quality{MaxIOPS: 1000, MaxBytesPerSec: 1 << 20, SnapshotLimit: 2, Durability: "sync"}},
		{name: "less", spec: vvol.PolicySpec{ServiceLevel: "gold", Quality: vvol.QualitySpec{MaxIOPS: ptr(uint64(10)), SnapshotLimit: ptr(1)}}, level: "gold",
			want: vvol.Quality{MaxIOPS: 10, MaxBytesPerSec: 1 << 20, SnapshotLimit: 1, Durability: "sync"}},
		{name: "the first level that offers it", spec: vvol.PolicySpec{Quality: vvol.QualitySpec{Thick: ptr(true)}}, level: "thick",
			want: vvol.Quality{Thick: true, SnapshotLimit: 8, Durability: "flush"}},
		{name: "either durability", spec: vvol.PolicySpec{ServiceLevel: "free", Quality: vvol.QualitySpec{Durability: ptr("sync"), MaxIOPS: ptr(uint64(7))}}, level: "free",
			want: vvol.Quality{MaxIOPS: 7, Durability: "sync"}},
		{name: "more", spec: vvol.PolicySpec{ServiceLevel: "gold", Quality: vvol.QualitySpec{MaxIOPS: ptr(uint64(1001))}}, err: "maxIops: 1001, expected 1 to 1000"},
		{name: "no limit", spec: vvol.PolicySpec{ServiceLevel: "gold", Quality: vvol.QualitySpec{MaxBytesPerSec: ptr(uint64(0))}}, err: "maxBytesPerSec: none"},
		{name: "weaker", spec: vvol.PolicySpec{ServiceLevel: "gold", Quality: vvol.QualitySpec{Durability: ptr("flush")}}, err: "durability: flush, expected sync"},
		{name: "space", spec: vvol.PolicySpec{ServiceLevel: "gold", Quality: vvol.QualitySpec{Thick: ptr(true)}}, err: "thick: true, expected false"},
		{name: "too many snapshots", spec: vvol.PolicySpec{ServiceLevel: "gold", Quality: vvol.QualitySpec{SnapshotLimit: ptr(3)}}, err: "snapshotLimit: 3"},
		{name: "a warning", spec: vvol.PolicySpec{Quality: vvol.QualitySpec{WarnPercentUsed: ptr(70)}}, level: "free", want: vvol.Quality{WarnPercentUsed: 70, Durability: "flush"}},
		{name: "a late warning", spec: vvol.PolicySpec{ServiceLevel: "thick", Quality: vvol.QualitySpec{WarnPercentUsed: ptr(91)}}, err: "warnPercentUsed: 91, expected 1 to 90"},
		{name: "no warning", spec: vvol.PolicySpec{Quality: vvol.QualitySpec{WarnPercentUsed: ptr(101)}}, err: "warning at 101 percent"},
		{name: "no such level", spec: vvol.PolicySpec{ServiceLevel: "lead"}, err: `no service level "lead"`},
		{name: "no such durability", spec: vvol.PolicySpec{Quality: vvol.QualitySpec{Durability: ptr("never")}}, err: `"never"`},
		{name: "negative", spec: vvol.PolicySpec{Quality: vvol.QualitySpec{SnapshotLimit: ptr(-1)}}, err: "-1"},
		{name: "huge", spec: vvol.PolicySpec{Quality: vvol.QualitySpec{MaxIOPS: ptr(uint64(1 << 62))}}, err: "IOPS"},
		{name: "tiny", spec: vvol.PolicySpec{Quality: vvol.QualitySpec{MaxBytesPerSec: ptr(uint64(1))}}, err: "bytes per second"},
		{name: "a policy without id", spec: vvol.PolicySpec{Policy: vvol.Policy{Name: "x"}}, err: "profile id"},
	} {
		v, err := l.createWith(4, x.spec)
		if x.err != "" {
			require.ErrorIs(t, err, vvol.ErrInvalid, x.name)
			require.ErrorContains(t, err, x.err, x.name)
			continue
		}
		require.NoError(t, err, x.name)
		require.Equal(t, x.level, v.ServiceLevel, x.name)
		require.Equal(t, x.want, v.Quality, x.name)
		c, err := l.Compliance(t.Context(), v.ID)
		require.NoError(t, err)
		require.True(t, c.Compliant, "%s: %v", x.name, c.Violations)
	}
	before := l.VVols(vvol.Filter{})
	l.restart()
	require.Equal(t, before, l.VVols(vvol.Filter{}))
	l.verify()
}

// A config volume of 256 GB in a container much smaller is thin and costs nothing,
// whatever level comes first; one that asks to be thick is refused.
func TestConfigVolumesAreThin(t *testing.T) {
	l := newLevelLab(t, 256)
	_, err := l.UpdateContainer(t.Context(), "k", vvol.ContainerUpdate{ServiceLevels: []vvol.ServiceLevel{{Name: "thick"}, {Name: "thin", Thin: true}}})
	require.NoError(t, err)
	spec := vvol.CreateSpec{Container: "k", Size: 256 * gib, Type: vvol.Config}
	for range 20 {
		v, err := l.Create(t.Context(), spec)
		require.NoError(t, err)
		require.Equal(t, "thin", v.ServiceLevel)
	}
	u, err := l.ContainerUsage(t.Context(), "k")
	require.NoError(t, err)
	require.Zero(t, u.Used)
	spec.ServiceLevel = "thick"
	_, err = l.Create(t.Context(), spec)
	require.ErrorIs(t, err, vvol.ErrNoSpace)
	spec.Type, spec.ServiceLevel = vvol.Data, ""
	_, err = l.Create(t.Context(), spec)
	require.ErrorIs(t, err, vvol.ErrNoSpace, "data takes the first level")
	l.verify()
}

// Snapshots and clones have what their source has, unless something else is asked.
func TestQualityOfCopies(t *testing.T) {
	ctx := t.Context()
	l := newLevelLab(t, 1<<20)
	gold := vvol.PolicySpec{ServiceLevel: "gold", Quality: vvol.QualitySpec{MaxIOPS: ptr(uint64(10))}, Policy: vvol.Policy{ProfileID: "p", Generation: 3}}
	v, err := l.createWith(4, gold)
	require.NoError(t, err)
	s, err := l.Snapshot(ctx, v.ID, vvol.SnapshotSpec{})
	require.NoError(t, err)
	f, err := l.FastClone(ctx, s.ID, vvol.CloneSpec{})
	require.NoError(t, err)
	c, err := l.Clone(ctx, v.ID, vvol.CloneSpec{Container: "default"})
	require.NoError(t, err)
	for _, x := range []vvol.VirtualVolume{s, f} {
		require.Equal(t, v.Quality, x.Quality)
		require.Equal(t, v.Policy, x.Policy)
	}
	require.Equal(t, "default", c.ServiceLevel)
	require.Equal(t, vvol.Quality{Durability: "flush"}, c.Quality)
	require.Zero(t, c.Policy)
	p, err := l.PrepareSnapshot(ctx, v.ID, vvol.SnapshotSpec{PolicySpec: vvol.PolicySpec{ServiceLevel: "thick", Policy: vvol.Policy{ProfileID: "q"}}})
	require.NoError(t, err)
	taken, err := l.TakePrepared(ctx, []vvol.PreparedItem{{Snapshot: p.ID}})
	require.NoError(t, err)
	require.Equal(t, vvol.Quality{SnapshotLimit: 8, Durability: "flush"}, taken[0].Quality, "a snapshot is not thick")
	require.Equal(t, "q", taken[0].Policy.ProfileID)
	_, err = l.Snapshot(ctx, v.ID, vvol.SnapshotSpec{})
	require.ErrorIs(t, err, vvol.ErrTooManySnapshots, "the volume's own limit")

	thick, err := l.createWith(4, vvol.PolicySpec{ServiceLevel: "thick"})
	require.NoError(t, err)
	ts, err := l.Snapshot(ctx, thick.ID, vvol.SnapshotSpec{})
	require.NoError(t, err)
	require.False(t, ts.Quality.Thick)
	tc, err := l.Clone(ctx, ts.ID, vvol.CloneSpec{})
	require.NoError(t, err)
	require.Equal(t, thick.Quality, tc.Quality, "of a snapshot of a thick volume")
	_, err = l.UpdateContainer(ctx, "k", vvol.ContainerUpdate{ServiceLevels: []vvol.ServiceLevel{{Name: "new", Thin: true}}})
	require.NoError(t, err)
	again, err := l.Clone(ctx, v.ID, vvol.CloneSpec{})
	require.NoError(t, err)
	require.Equal(t, "new", again.ServiceLevel, "the source's is offered no more")
	_, err = l.Snapshot(ctx, thick.ID, vvol.SnapshotSpec{})
	require.NoError(t, err, "whose level is gone")
	for _, x := range l.VVols(vvol.Filter{Container: "k"}) {
		_, err := l.Compliance(ctx, x.ID)
		require.NoError(t, err)
	}
	l.verify()
}

// A volume changes between thin and thick with its snapshots and under its writers:
// thick, it can be written everywhere whatever others do; thin, others get the rest.
func TestSetPolicyMovesSpace(t *testing.T) {
	ctx := t.Context()
	l := newLevelLab(t, 16)
	v, err := l.createWith(8, vvol.PolicySpec{})
	require.NoError(t, err)
	other, err := l.createWith(32, vvol.PolicySpec{})
	require.NoError(t, err)
	_, err = l.Bind(ctx, v.ID, iqn)
	require.NoError(t, err)
	used := func(want uint64) {
		t.Helper()
		u, err := l.ContainerUsage(ctx, "k")
		require.NoError(t, err)
		require.Equal(t, want*block, u.Used)
		l.verify()
	}
	set := func(level string) error {
		now, err := l.SetPolicy(ctx, v.ID, vvol.PolicySpec{ServiceLevel: level, Quality: vvol.QualitySpec{Durability: nil}}, nil)
		if err == nil {
			require.Equal(t, level, now.ServiceLevel)
			require.Equal(t, level == "thick", now.Quality.Thick)
			c, err := l.Compliance(ctx, v.ID)
			require.NoError(t, err)
			require.True(t, c.Compliant, "%v", c.Violations)
		}
		return err
	}
	require.Equal(t, uint64(3), l.writeAll(v.ID, 3))
	require.Equal(t, uint64(9), l.writeAll(other.ID, 9))
	require.ErrorIs(t, set("thick"), vvol.ErrNoSpace, "9 and 8 in 16")
	used(12)
	require.Zero(t, l.poolRows())
	now, err := l.VVol(v.ID)
	require.NoError(t, err)
	require.Equal(t, v, now, "as before")

	_, err = l.ResizeContainer(ctx, "k", 20*block)
	require.NoError(t, err)
	require.NoError(t, set("thick"))
	used(17)
	require.Equal(t, uint64(12), l.writeAll(other.ID, 32), "the container less what v may need")
	require.Equal(t, uint64(8), l.writeAll(v.ID, 8))
	l.restart()
	used(20)
	require.NoError(t, set("free"))
	used(20)
	require.NoError(t, set("thick"), "it holds all that it needs")
	_, err = l.Snapshot(ctx, v.ID, vvol.SnapshotSpec{})
	require.ErrorIs(t, err, vvol.ErrNoSpace)

	_, err = l.ResizeContainer(ctx, "k", 40*block)
	require.NoError(t, err)
	snap, err := l.Snapshot(ctx, v.ID, vvol.SnapshotSpec{})
	require.NoError(t, err)
	require.Equal(t, uint64(2), l.writeAll(v.ID, 2))
	used(12 + 8 + 8)
	require.NoError(t, set("free"))
	used(12 + 8 + 2)
	require.Equal(t, 1, l.poolRows(), "of what the snapshot holds")
	l.restart()
	used(12 + 8 + 2)
	require.NoError(t, set("thick"))
	used(12 + 8 + 8)
	require.NoError(t, set("free"))
	require.NoError(t, l.Delete(ctx, snap.ID))
	used(12 + 8)
	require.Zero(t, l.poolRows())
	require.Equal(t, uint64(32), l.writeAll(other.ID, 32))
	require.NoError(t, l.UnbindAll(ctx, v.ID))
	require.NoError(t, l.Delete(ctx, v.ID))
	used(32)
}

func TestSetPolicyRefuses(t *testing.T) {
	ctx := t.Context()
	l := newLevelLab(t, 1<<10)
	v, err := l.createWith(8, vvol.PolicySpec{})
	require.NoError(t, err)
	w, err := l.Snapshot(ctx, v.ID, vvol.SnapshotSpec{Writable: true})
	require.NoError(t, err)
	p, err := l.PrepareSnapshot(ctx, v.ID, vvol.SnapshotSpec{})
	require.NoError(t, err)
	for _, x := range []struct {
		id   vvol.ID
		spec vvol.PolicySpec
		err  error
	}{
		{vvol.ID{1}, vvol.PolicySpec{}, vvol.ErrNotFound},
		{p.ID, vvol.PolicySpec{}, vvol.ErrInvalid},
		{v.ID, vvol.PolicySpec{ServiceLevel: "lead"}, vvol.ErrInvalid},
		{v.ID, vvol.PolicySpec{ServiceLevel: "gold", Quality: vvol.QualitySpec{MaxIOPS: ptr(uint64(1001))}}, vvol.ErrInvalid},
		{v.ID, vvol.PolicySpec{Policy: vvol.Policy{Generation: 1}}, vvol.ErrInvalid},
	} {
		_, err := l.SetPolicy(ctx, x.id, x.spec, nil)
		require.ErrorIs(t, err, x.err)
		_, err = l.AdjustPolicy(ctx, x.id, x.spec)
		require.ErrorIs(t, err, x.err)
	}
	w, err = l.SetPolicy(ctx, w.ID, vvol.PolicySpec{ServiceLevel: "thick"}, nil)
	require.NoError(t, err)
	require.False(t, w.Quality.Thick, "a snapshot has no space of its own")
	l.verify()
}

// Adjusting keeps what is not named; setting does not.
func TestAdjustPolicy(t *testing.T) {
	ctx := t.Context()
	l := newLevelLab(t, 1<<10)
	policy := vvol.Policy{ProfileID: "p", Generation: 1}
	v, err := l.createWith(8, vvol.PolicySpec{ServiceLevel: "gold", Policy: policy,
		Quality: vvol.QualitySpec{MaxIOPS: ptr(uint64(10)), SnapshotLimit: ptr(1), WarnPercentUsed: ptr(60)}})
	require.NoError(t, err)
	v, err = l.AdjustPolicy(ctx, v.ID, vvol.PolicySpec{Quality: vvol.QualitySpec{MaxIOPS: ptr(uint64(20))}})
	require.NoError(t, err)
	require.Equal(t, vvol.Quality{MaxIOPS: 20, MaxBytesPerSec: 1 << 20, SnapshotLimit: 1, WarnPercentUsed: 60, Durability: "sync"}, v.Quality)
	require.Equal(t, policy, v.Policy)
	c, err := l.Compliance(ctx, v.ID)
	require.NoError(t, err)
	require.Equal(t, vvol.Compliance{VVol: v.ID, Policy: policy, Violations: []vvol.Violation{{What: "maxIops", Expected: "10", Current: "20"}}}, c)
	_, err = l.AdjustPolicy(ctx, v.ID, vvol.PolicySpec{Quality: vvol.QualitySpec{WarnPercentUsed: ptr(0), MaxIOPS: ptr(uint64(10))}})
	require.NoError(t, err)
	c, err = l.Compliance(ctx, v.ID)
	require.NoError(t, err)
	require.Equal(t, []vvol.Violation{{What: "warnPercentUsed", Expected: "60", Current: "none"}}, c.Violations)
	_, err = l.AdjustPolicy(ctx, v.ID, vvol.PolicySpec{Quality: vvol.QualitySpec{MaxIOPS: ptr(uint64(20))}})
	require.NoError(t, err)
	v, err = l.AdjustPolicy(ctx, v.ID, vvol.PolicySpec{ServiceLevel: "free"})
	require.NoError(t, err)
	require.Equal(t, uint64(20), v.Quality.MaxIOPS)
	v, err = l.SetPolicy(ctx, v.ID, vvol.PolicySpec{}, nil)
	require.NoError(t, err)
	require.Equal(t, vvol.Quality{Durability: "flush"}, v.Quality)
	require.Zero(t, v.Policy)
	events := l.Events(0, 1000)
	require.Equal(t, "vvol.policy", events[len(events)-1].Kind)
	_, err = l.SetPolicy(ctx, v.ID, vvol.PolicySpec{}, nil)
	require.NoError(t, err)
	require.Len(t, l.Events(0, 1000), len(events), "nothing changed")
}

// Compliance says what is not so: of the offer, the snapshots, the reserve and the data path.
func TestComplianceIsMeasured(t *testing.T) {
	ctx := t.Context()
	l := newLevelLab(t, 64)
	v, err := l.createWith(8, vvol.PolicySpec{ServiceLevel: "gold"})
	require.NoError(t, err)
	violations := func(id vvol.ID) (what []string) {
		c, err := l.Compliance(ctx, id)
		require.NoError(t, err)
		for _, x := range c.Violations {
			what = append(what, x.String())
		}
		require.Equal(t, len(what) == 0, c.Compliant)
		return what
	}
	require.Empty(t, violations(v.ID))
	_, err = l.UpdateContainer(ctx, "k", vvol.ContainerUpdate{ServiceLevels: []vvol.ServiceLevel{
		{Name: "gold", Thin: true, MaxIOPS: 500, MaxBytesPerSec: 2 << 20, Durability: vvol.DurabilitySync}, {Name: "thick"}}})
	require.NoError(t, err)
	require.Equal(t, []string{"maxIops: 1000, expected 1 to 500"}, violations(v.ID))
	v, err = l.SetPolicy(ctx, v.ID, vvol.PolicySpec{}, nil)
	require.NoError(t, err)
	require.Empty(t, violations(v.ID))
	for range 3 {
		_, err = l.Snapshot(ctx, v.ID, vvol.SnapshotSpec{})
		require.NoError(t, err)
	}
	_, err = l.AdjustPolicy(ctx, v.ID, vvol.PolicySpec{Quality: vvol.QualitySpec{SnapshotLimit: ptr(2)}})
	require.NoError(t, err)
	require.Equal(t, []string{"snapshots: 3, expected at most 2"}, violations(v.ID))
	require.NoError(t, l.Delete(ctx, l.SnapshotsOf(v.ID)[0]))
	require.Empty(t, violations(v.ID))

	_, err = l.Bind(ctx, v.ID, iqn)
	require.NoError(t, err)
	require.Empty(t, violations(v.ID))
	l.endpoints.mu.Lock()
	l.endpoints.quality[v.ID] = vvol.Quality{MaxIOPS: 7, MaxBytesPerSec: 2 << 20, Durability: vvol.DurabilityFlush}
	l.endpoints.mu.Unlock()
	require.Equal(t, []string{"in force: maxIops: 7, expected 500", "in force: durability: flush, expected sync"}, violations(v.ID))
	_, err = l.SetPolicy(ctx, v.ID, vvol.PolicySpec{}, nil)
	require.NoError(t, err)
	require.Empty(t, violations(v.ID), "set again")

	thick, err := l.createWith(8, vvol.PolicySpec{ServiceLevel: "thick"})
	require.NoError(t, err)
	require.Empty(t, violations(thick.ID))
	require.NoError(t, l.engine.SetPool(ctx, store.ID(thick.ID), store.Pool{1})) // behind the catalog's back
	require.Equal(t, []string{"reservedBytes: 0, expected 32768"}, violations(thick.ID))
	_, err = l.UpdateContainer(ctx, "k", vvol.ContainerUpdate{ServiceLevels: []vvol.ServiceLevel{{Name: "new", Thin: true}}})
	require.NoError(t, err)
	require.Equal(t, []string{"serviceLevel: not offered, expected gold"}, violations(v.ID))
	_, err = l.Compliance(ctx, vvol.ID{1})
	require.ErrorIs(t, err, vvol.ErrNotFound)
}

// Rows from before volumes had a quality read as before: thin or thick, without limits,
// with their level's number of snapshots.
func TestRowsWithoutQuality(t *testing.T) {
	ctx := t.Context()
	l := newLab(t, 1)
	thin, err := l.Create(ctx, vvol.CreateSpec{Container: "default", Size: mib, PolicySpec: vvol.PolicySpec{ServiceLevel: "bronze"}})
	require.NoError(t, err)
	thick, err := l.Create(ctx, vvol.CreateSpec{Container: "default", Size: mib, PolicySpec: vvol.PolicySpec{ServiceLevel: "thick"}})
	require.NoError(t, err)
	snap, err := l.Snapshot(ctx, thick.ID, vvol.SnapshotSpec{})
	require.NoError(t, err)
	prepared, err := l.PrepareSnapshot(ctx, thin.ID, vvol.SnapshotSpec{})
	require.NoError(t, err)
	want := l.VVols(vvol.Filter{Prepared: true})
	require.Len(t, want, 4)
	require.NoError(t, l.engine.Meta().Update(ctx, func(tx store.MetaTx) error {
		for _, v := range want {
			key := append([]byte("vvol/v/"), v.ID[:]...)
			row, err := tx.Get(key)
			if err != nil {
				return err
			}
			fields := map[string]json.RawMessage{}
			if err := json.Unmarshal(row, &fields); err != nil {
				return err
			}
			require.Contains(t, fields, "quality")
			delete(fields, "quality")
			if row, err = json.Marshal(fields); err != nil {
				return err
			}
			if err := tx.Set(key, row); err != nil {
				return err
			}
		}
		return nil
	}))
	l.restart()
	require.Equal(t, want, l.VVols(vvol.Filter{Prepared: true}))
	l.verify()
	require.Equal(t, []vvol.ID{snap.ID}, l.SnapshotsOf(thick.ID))
	_, err = l.TakePrepared(ctx, []vvol.PreparedItem{{Snapshot: prepared.ID}})
	require.NoError(t, err)
	l.restart()
	l.verify()
}
