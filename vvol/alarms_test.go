package vvol_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vvol"
)

func (l *lab) tend() {
	l.t.Helper()
	require.NoError(l.t, l.Tend(l.t.Context()))
}

// alarmEvents are the events that tell of alarms.
func (l *lab) alarmEvents() (all []string) {
	for _, e := range l.Events(0, 10_000) {
		if e.Status != "" {
			all = append(all, fmt.Sprint(e.Kind, " ", e.Status))
		}
	}
	return all
}

// A container warns, is full and is so no more: an event each, an alarm while it lasts.
func TestContainerAlarms(t *testing.T) {
	ctx := t.Context()
	l := newLab(t, 1)
	k, err := l.CreateContainer(ctx, vvol.ContainerSpec{Name: "k", Size: 100 * block, ServiceLevels: []vvol.ServiceLevel{
		{Name: "thin", Thin: true, WarnPercentUsed: 90}, {Name: "thick", WarnPercentUsed: 70}}})
	require.NoError(t, err)
	v, err := l.createIn("thin", 100)
	require.NoError(t, err)
	l.writeAll(v.ID, 69)
	l.tend()
	require.Empty(t, l.Alarms())
	thick, err := l.createIn("thick", 1)
	require.NoError(t, err)
	for range 3 {
		l.tend()
		alarms := l.Alarms()
		require.Len(t, alarms, 1)
		require.Equal(t, vvol.Alarm{Kind: vvol.ContainerThreshold, Object: k.ID.String(), Status: vvol.Yellow, Since: l.clock.now(),
			Message: "k: 286720 of 409600 bytes used, 70.0 %"}, alarms[0])
	}
	l.writeAll(v.ID, 97)
	l.tend()
	require.Equal(t, vvol.Red, l.Alarms()[0].Status)
	_, err = l.ResizeContainer(ctx, "k", 150*block)
	require.NoError(t, err)
	require.NoError(t, l.Delete(ctx, thick.ID))
	l.tend()
	require.Empty(t, l.Alarms())
	require.Equal(t, []string{"container.threshold Yellow", "container.threshold Red", "container.threshold Green"}, l.alarmEvents())
	_, err = l.ResizeContainer(ctx, "k", 97*block)
	require.NoError(t, err)
	l.tend()
	require.NoError(t, l.Delete(ctx, v.ID))
	require.NoError(t, l.DeleteContainer(ctx, "k"))
	l.tend()
	require.Empty(t, l.Alarms(), "of what is gone")
}

// A container warns at the lowest of what its levels and volumes say, whatever becomes of
// them; a snapshot does not ask for what its volume asks for.
func TestContainerWarnsForVolumes(t *testing.T) {
	ctx := t.Context()
	l := newLab(t, 1)
	levels := []vvol.ServiceLevel{{Name: "thin", Thin: true}}
	_, err := l.CreateContainer(ctx, vvol.ContainerSpec{Name: "k", Size: 100 * block, ServiceLevels: levels})
	require.NoError(t, err)
	ask := func(percent int) vvol.PolicySpec {
		return vvol.PolicySpec{Quality: vvol.QualitySpec{WarnPercentUsed: &percent}, Policy: vvol.Policy{ProfileID: "p", Generation: 1}}
	}
	warns := func(percent int, status vvol.Status, why string) {
		t.Helper()
		for _, again := range []bool{false, true} {
			if again {
				l.restart()
			}
			u, err := l.ContainerUsage(ctx, "k")
			require.NoError(t, err)
			require.Equal(t, percent, u.WarnPercent, why)
			l.tend()
			if status == vvol.Green {
				require.Empty(t, l.Alarms(), why)
			} else {
				require.Len(t, l.Alarms(), 1, why)
				require.Equal(t, status, l.Alarms()[0].Status, why)
			}
		}
	}
	v, err := l.createWith(100, vvol.PolicySpec{})
	require.NoError(t, err)
	l.writeAll(v.ID, 60)
	warns(0, vvol.Green, "nobody asks")
	low, err := l.createWith(1, ask(60))
	require.NoError(t, err)
	high, err := l.createWith(1, ask(70))
	require.NoError(t, err)
	warns(60, vvol.Yellow, "the lowest")
	snapshot, err := l.Snapshot(ctx, low.ID, vvol.SnapshotSpec{})
	require.NoError(t, err)
	c, err := l.Compliance(ctx, snapshot.ID)
	require.NoError(t, err)
	require.True(t, c.Compliant, c.Violations)
	_, err = l.SetPolicy(ctx, low.ID, ask(80), nil)
	require.NoError(t, err)
	warns(70, vvol.Green, "changed")
	require.NoError(t, l.Delete(ctx, high.ID))
	warns(80, vvol.Green, "deleted")
	levels[0].WarnPercentUsed = 55
	_, err = l.UpdateContainer(ctx, "k", vvol.ContainerUpdate{ServiceLevels: levels})
	require.NoError(t, err)
	c, err = l.Compliance(ctx, low.ID)
	require.NoError(t, err)
	require.Equal(t, []vvol.Violation{{What: "warnPercentUsed", Expected: "1 to 55", Current: "80"}}, c.Violations)
	_, err = l.SetPolicy(ctx, low.ID, vvol.PolicySpec{}, nil)
	require.NoError(t, err)
	warns(55, vvol.Yellow, "the level")
	_, err = l.SetPolicy(ctx, snapshot.ID, ask(50), nil)
	require.NoError(t, err)
	warns(50, vvol.Yellow, "of the snapshot itself")
	l.verify()
}

// Volumes that fall out of compliance and come back are told of, however many there are,
// not all at once, and each once.
func TestComplianceAlarms(t *testing.T) {
	ctx := t.Context()
	l := newLab(t, 1)
	gold := []vvol.ServiceLevel{{Name: "gold", Thin: true, MaxIOPS: 1000}}
	_, err := l.CreateContainer(ctx, vvol.ContainerSpec{Name: "k", Size: gib, ServiceLevels: gold})
	require.NoError(t, err)
	const volumes = 600
	for range volumes {
		_, err := l.createWith(1, vvol.PolicySpec{})
		require.NoError(t, err)
	}
	l.tend()
	require.Empty(t, l.Alarms())
	lower := []vvol.ServiceLevel{{Name: "gold", Thin: true, MaxIOPS: 500}}
	for _, levels := range [][]vvol.ServiceLevel{lower, gold} {
		_, err = l.UpdateContainer(ctx, "k", vvol.ContainerUpdate{ServiceLevels: levels})
		require.NoError(t, err)
		before := len(l.alarmEvents())
		for range 8 {
			n := len(l.alarmEvents())
			l.tend()
			require.LessOrEqual(t, len(l.alarmEvents())-n, 256)
		}
		require.Len(t, l.alarmEvents(), before+volumes)
	}
	require.Empty(t, l.Alarms())
	_, err = l.UpdateContainer(ctx, "k", vvol.ContainerUpdate{ServiceLevels: lower})
	require.NoError(t, err)
	for range 6 {
		l.tend()
	}
	require.Len(t, l.Alarms(), volumes)
	require.Equal(t, "maxIops: 1000, expected 1 to 500", l.Alarms()[0].Message)
	_, err = l.SetPolicy(ctx, l.VVolIDs(vvol.Filter{Container: "k"})[0], vvol.PolicySpec{}, nil)
	require.NoError(t, err)
	l.tend()
	l.tend()
	require.Len(t, l.Alarms(), volumes-1)
	l.restart()
	require.Empty(t, l.Alarms())
	for range 4 {
		l.tend()
	}
	require.Len(t, l.Alarms(), volumes-1, "found anew")
}

// What is in alarm is looked at before all others: its alarm is over with the next Tend,
// though a round through all volumes takes several.
func TestAlarmOverSoon(t *testing.T) {
	l := newLab(t, 1)
	const volumes = 2500
	for range volumes {
		l.create("", 1)
	}
	last := l.VVolIDs(vvol.Filter{})[volumes-1]
	adjust := func(level string) {
		_, err := l.SetPolicy(t.Context(), last, vvol.PolicySpec{ServiceLevel: level}, nil)
		require.NoError(t, err)
	}
	levels := vvol.DefaultServiceLevels()
	without := slices.DeleteFunc(slices.Clone(levels), func(v vvol.ServiceLevel) bool { return v.Name == "bronze" })
	adjust("bronze")
	_, err := l.UpdateContainer(t.Context(), "default", vvol.ContainerUpdate{ServiceLevels: without})
	require.NoError(t, err)
	l.tend()
	l.tend()
	require.Len(t, l.Alarms(), 1)
	adjust("default")
	l.tend()
	require.Empty(t, l.Alarms())
	require.Equal(t, []string{"vvol.compliance Red", "vvol.compliance Green"}, l.alarmEvents(), "each once")
}

// Prepared snapshots that nobody takes go without anybody preparing others.
func TestTendForgetsPrepared(t *testing.T) {
	l := newLab(t, 1)
	v := l.create("v", 1)
	p, err := l.PrepareSnapshot(t.Context(), v.ID, vvol.SnapshotSpec{})
	require.NoError(t, err)
	l.clock.advance(time.Hour)
	l.tend()
	_, err = l.VVol(p.ID)
	require.NoError(t, err)
	l.clock.advance(time.Second)
	l.tend()
	_, err = l.VVol(p.ID)
	require.ErrorIs(t, err, vvol.ErrNotFound)
	require.Contains(t, l.eventKinds(), "vvol.expired")
	l.verify()
}

// BenchmarkTend looks for alarms among 20,000 volumes.
func BenchmarkTend(b *testing.B) {
	l := newLab(b, 1)
	l.manyVolumes(20_000)
	for b.Loop() {
		require.NoError(b, l.Tend(b.Context()))
	}
}
