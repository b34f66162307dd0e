package scenario

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/api"
	"vvsim/scsi/iscsi/initiator"
	"vvsim/vasa/vasatest"
	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// Policies that are set over SOAP, and what hosts feel of them over SCSI. All is in a bubble:
// what a limit holds up takes exactly so long, and all else takes no time.

// policed is a bound VVol of some MB in the site's container.
func (s *site) policed(c *vasatest.Client, session *initiator.Session, mb int64) (id string, u *initiator.Unit) {
	s.t.Helper()
	id, err := s.create(s.ctx, c, mb, "VMW_VVolName", "policed")
	require.NoError(s.t, err)
	handles, err := s.bind(s.ctx, c, id)
	require.NoError(s.t, err)
	return id, s.unit(session, lunOf(handles[0]))
}

// writes is how long some writes take, one after the other.
func (s *site) writes(u *initiator.Unit, n int) time.Duration {
	s.t.Helper()
	began, block := time.Now(), make([]byte, 512)
	for range n {
		s.write(u, 0, block)
	}
	return time.Since(began)
}

// complies tells whether a VVol has what its policy asks for.
func (s *site) complies(c *vasatest.Client, id string) wire.ComplianceStatus {
	s.t.Helper()
	r, err := vasatest.Do[wire.QueryComplianceResultResponse](s.ctx, c, &wire.QueryComplianceResult{Compliance: []wire.ComplianceSubject{{ObjectID: []string{id}}}})
	require.NoError(s.t, err)
	require.Len(s.t, r.Return, 1)
	return r.Return[0].ComplianceStatus
}

// TestPolicyLimitsIO: a lower limit holds for the next write of a host that is logged in and has
// the VVol bound, a higher one at once for the write that waits; another VVol never waits.
func TestPolicyLimitsIO(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		s := newSite(l)
		c, session := s.host("esx1"), l.login("esx1", 0)
		id, u := s.policed(c, session, 8)
		_, other := s.policed(c, session, 8)
		require.Zero(t, s.writes(u, 200), "without a limit")
		apply := func(generation, iops uint64) {
			require.NoError(t, s.apply(l.ctx, c, id, profile("gold", generation, map[string]any{"maxIops": int64(iops)})))
			require.Equal(t, wire.ComplianceStatusCompliant, s.complies(c, id))
		}
		apply(1, 10)
		require.InDelta(t, 2, s.writes(u, 21).Seconds(), 0.11, "21 writes at 10 a second")
		require.Zero(t, s.writes(other, 200), "another VVol")
		apply(2, 100)
		require.InDelta(t, 2, s.writes(u, 200).Seconds(), 0.11, "200 writes at 100 a second")

		apply(3, 1)
		s.writes(u, 1)
		began, done := time.Now(), make(chan error, 1)
		go func() {
			_, err := u.WriteAt(l.ctx, make([]byte, 512), 0, false)
			done <- err
		}()
		synctest.Wait()
		require.Empty(t, done, "it waits for its turn")
		apply(4, 10_000_000)
		require.NoError(t, <-done)
		require.Less(t, time.Since(began), time.Millisecond)
		require.Less(t, s.writes(u, 200), time.Millisecond, "the limit is gone")
	})
}

// TestPolicyLimitsBytes: so many MB a second, however large the writes are.
func TestPolicyLimitsBytes(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		s := newSite(l)
		c := s.host("esx1")
		id, u := s.policed(c, l.login("esx1", 0), 8)
		seconds := func(n, size int) float64 {
			began, p := time.Now(), make([]byte, size)
			for range n {
				s.write(u, 0, p)
			}
			return time.Since(began).Seconds()
		}
		require.Zero(t, seconds(100, 64<<10), "without a limit")
		require.NoError(t, s.apply(l.ctx, c, id, profile("gold", 1, map[string]any{"maxMBps": int64(1)})))
		require.Equal(t, wire.ComplianceStatusCompliant, s.complies(c, id))
		require.InDelta(t, 2, seconds(33, 64<<10), 0.11, "2 MB and 64 KiB at 1 MB a second")
		require.InDelta(t, 2, seconds(8, 256<<10), 0.3, "2 MB at 1 MB a second; the last of them is not paid for yet")
		require.NoError(t, s.apply(l.ctx, c, id, profile("gold", 2, map[string]any{"maxMBps": int64(4)})))
		require.InDelta(t, 1, seconds(64, 64<<10), 0.11, "4 MB at 4 MB a second")
	})
}

// TestPolicySetsDurability: with sync the write cache of the logical unit is off, and its hosts
// hear of the change.
func TestPolicySetsDurability(t *testing.T) {
	l := newLab(t, t.TempDir(), nil) // in memory there is no cache
	s := newSite(l)
	c := s.host("esx1")
	id, u := s.policed(c, l.login("esx1", 0), 8)
	cache := func() bool { // WCE of the caching mode page (SBC-3 6.5.5), by MODE SENSE(10)
		r, err := u.Execute(l.ctx, []byte{0x5a, 8, 8, 0, 0, 0, 0, 0, 64, 0}, nil, 64)
		require.NoError(t, err)
		return r.DataIn[8+2]&4 != 0
	}
	require.True(t, cache())
	for i, durability := range []string{vvol.DurabilitySync, vvol.DurabilityFlush} {
		require.NoError(t, s.apply(l.ctx, c, id, profile("safe", uint64(i), map[string]any{"durability": durability})))
		require.Equal(t, "6/2A/01", s.sense(u.TestUnitReady(l.ctx)), durability)
		require.Equal(t, durability == vvol.DurabilityFlush, cache(), durability)
		require.Equal(t, wire.ComplianceStatusCompliant, s.complies(c, id), durability)
	}
}

// TestPolicyReservesSpace: vSphere's own rule of space efficiency makes a VVol thick, which
// reserves its size at once, and thin again, which gives back what was not written.
func TestPolicyReservesSpace(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		s := newSite(l)
		s.container = call[api.Container](l, "POST", "/api/v1/containers", map[string]any{"name": "both", "sizeBytes": 32 << 20,
			"serviceLevels": []vvol.ServiceLevel{{Name: "thin", Thin: true}, {Name: "thick"}}}, http.StatusCreated).ID
		c := s.host("esx1")
		id, u := s.policed(c, l.login("esx1", 0), 8)
		s.write(u, 0, random(1, 1<<20))
		used := func() int64 {
			space, err := s.space(l.ctx, c)
			require.NoError(t, err)
			return space.PhysicalUsed
		}
		generation := uint64(0)
		apply := func(efficiency string) error {
			generation++
			p := profile("space", generation, map[string]any{"spaceEfficiency": &wire.DiscreteSet{Values: []any{efficiency}}})
			p.Constraints.SubProfiles[0].Base().Capability[0].CapabilityID.Namespace = "com.vmware.storageprofile.std"
			return s.apply(l.ctx, c, id, p)
		}
		require.EqualValues(t, 1, used())
		require.NoError(t, apply("Thick"))
		require.EqualValues(t, 8, used())
		require.Equal(t, wire.ComplianceStatusCompliant, s.complies(c, id))
		require.NoError(t, apply("Thin"))
		require.EqualValues(t, 1, used())
		require.Equal(t, "InvalidProfile", vasatest.Fault(apply("Lazy")))
		require.EqualValues(t, 1, used())
	})
}

// TestPolicyLimitsSnapshots: the limit counts what is prepared and what is taken; a lower one takes
// none away, and is not complied with.
func TestPolicyLimitsSnapshots(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		s := newSite(l)
		c := s.host("esx1")
		id, _ := s.policed(c, l.login("esx1", 0), 8)
		apply := func(generation uint64, limit int64) {
			require.NoError(t, s.apply(l.ctx, c, id, profile("silver", generation, map[string]any{"snapshotLimit": limit})))
		}
		full := func() {
			_, err := s.prepare(l.ctx, c, id)
			require.Equal(t, "SnapshotTooMany", vasatest.Fault(err), "%v", err)
		}
		prepare := func() string {
			snapshot, err := s.prepare(l.ctx, c, id)
			require.NoError(t, err)
			return snapshot
		}
		apply(1, 2)
		first, second := prepare(), prepare()
		full()
		require.NoError(t, s.take(l.ctx, c, first))
		require.NoError(t, s.take(l.ctx, c, second))
		full()
		require.Equal(t, wire.ComplianceStatusCompliant, s.complies(c, id))
		apply(2, 1)
		full()
		require.Equal(t, wire.ComplianceStatusNonCompliant, s.complies(c, id))
		require.NoError(t, s.delete(l.ctx, c, first))
		require.Equal(t, wire.ComplianceStatusCompliant, s.complies(c, id))
		full()
		apply(3, 2)
		require.NoError(t, s.delete(l.ctx, c, prepare()))
		require.NoError(t, s.take(l.ctx, c, prepare()))
		full()
	})
}

// TestPolicyWarnsOfSpace: what hosts write makes the container's alarm Yellow at the threshold of
// its level, and Red when it is nearly full; what they unmap makes it Green.
func TestPolicyWarnsOfSpace(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		s := newSite(l)
		s.container = call[api.Container](l, "POST", "/api/v1/containers", map[string]any{"name": "small", "sizeBytes": 8 << 20,
			"serviceLevels": []vvol.ServiceLevel{{Name: "warned", Thin: true, WarnPercentUsed: 50}}}, http.StatusCreated).ID
		c, last := s.host("esx1"), int64(-1)
		_, u := s.policed(c, l.login("esx1", 0), 8)
		alarms := func() (told []string) {
			pass(11 * time.Second) // alarms are looked for every 10 s
			r, err := vasatest.Do[wire.GetAlarmsResponse](l.ctx, c, &wire.GetAlarms{LastAlarmID: &last})
			require.NoError(t, err)
			for _, a := range r.Return {
				b := a.Base()
				require.Equal(t, s.container, *b.ObjectID)
				told, last = append(told, string(*b.AlarmType)+" "+string(*b.Status)), *b.AlarmID
			}
			return told
		}
		require.Empty(t, alarms())
		l.write(u, 0, random(1, 4<<20-64<<10))
		require.Empty(t, alarms(), "below the threshold")
		l.write(u, 0, random(2, 4<<20))
		require.Equal(t, []string{"SpaceCapacity Yellow"}, alarms())
		require.Empty(t, alarms(), "told once")
		l.write(u, 4<<20, random(3, 4<<20))
		require.Equal(t, []string{"SpaceCapacity Red"}, alarms())
		require.NoError(t, u.Unmap(l.ctx, initiator.Extent{LBA: 0, Blocks: 16384}))
		require.Equal(t, []string{"SpaceCapacity Green"}, alarms())
	})
}

// offered is what a container's only level offers of a capability.
func (s *site) offered(c *vasatest.Client, id string) any {
	s.t.Helper()
	of, err := vasatest.Do[wire.QueryCapabilityProfileForResourceResponse](s.ctx, c, &wire.QueryCapabilityProfileForResource{ResourceID: []string{s.container}})
	require.NoError(s.t, err)
	require.Len(s.t, of.Return, 1)
	r, err := vasatest.Do[wire.QueryCapabilityProfileResponse](s.ctx, c, &wire.QueryCapabilityProfile{ProfileID: []string{of.Return[0].ProfileID}})
	require.NoError(s.t, err)
	for _, x := range r.Return[0].Base().Constraints.SubProfiles[0].Base().Capability {
		if x.CapabilityID.ID == id {
			return x.Constraint[0].PropertyInstance[0].Value
		}
	}
	return nil
}

// described is what the schema of policies allows for a capability.
func (s *site) described(c *vasatest.Client, id string) []any {
	s.t.Helper()
	r, err := vasatest.Do[wire.QueryCapabilityMetadataResponse](s.ctx, c, &wire.QueryCapabilityMetadata{})
	require.NoError(s.t, err)
	for _, category := range r.Return[0].CapabilityMetadataPerCategory {
		for _, m := range category.CapabilityMetadata {
			if m.CapabilityID.ID == id {
				return m.PropertyMetadata[0].AllowedValue
			}
		}
	}
	return nil
}

// TestPolicySetsSpaceWarning: the space alarm of a container comes at the threshold that the
// policy of a VVol in it asks for, at the lowest of several, and at its level's when none asks.
// What the level does not offer is refused, and what it offers no longer is out of compliance.
func TestPolicySetsSpaceWarning(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		s := newSite(l)
		level := vvol.ServiceLevel{Name: "warned", Thin: true, WarnPercentUsed: 75}
		s.container = call[api.Container](l, "POST", "/api/v1/containers", map[string]any{"name": "small", "sizeBytes": 16 << 20,
			"serviceLevels": []vvol.ServiceLevel{level}}, http.StatusCreated).ID
		c, session := s.host("esx1"), l.login("esx1", 0)
		first, u := s.policed(c, session, 16)
		second, _ := s.policed(c, session, 16)
		status := func() string {
			pass(11 * time.Second) // alarms are looked for every 10 s
			r, err := vasatest.Do[wire.GetAlarmsResponse](l.ctx, c, &wire.GetAlarms{LastAlarmID: new(int64(-1))})
			require.NoError(t, err)
			for _, a := range r.Return {
				if b := a.Base(); *b.AlarmType == wire.AlarmTypeSpaceCapacity {
					require.Equal(t, s.container, *b.ObjectID)
					return string(*b.Status)
				}
			}
			return "Green"
		}
		generation := uint64(0)
		ask := func(id string, percent any) error {
			generation++
			return s.apply(l.ctx, c, id, profile("warned", generation, map[string]any{"spaceWarning": percent}))
		}
		require.Equal(t, []any{&wire.Range{Min: int64(1), Max: int64(97)}}, s.described(c, "spaceWarning"))
		require.Equal(t, &wire.Range{Min: int64(1), Max: int64(75)}, s.offered(c, "spaceWarning"))
		for _, bad := range []any{int64(76), int64(0), int64(-1), int64(98), int64(1) << 40, "half", "", &wire.Range{Min: int64(1), Max: int64(76)}} {
			require.Equal(t, "InvalidProfile", vasatest.Fault(ask(first, bad)), "%v", bad)
		}
		l.write(u, 0, random(1, 8<<20)) // half of it
		require.Equal(t, "Green", status())
		require.NoError(t, ask(first, int64(51)))
		require.Equal(t, "Green", status(), "below")
		require.NoError(t, ask(first, int64(50)))
		require.Equal(t, "Yellow", status())
		require.NoError(t, ask(second, int64(30)))
		require.Equal(t, "Yellow", status(), "still")
		require.NoError(t, ask(first, &wire.Range{Min: int64(1), Max: int64(75)}))
		require.Equal(t, "Yellow", status(), "the other asks for it still")
		require.NoError(t, s.apply(l.ctx, c, second, profile("another", 1, map[string]any{"maxIops": int64(1000)})))
		require.Equal(t, "Green", status(), "nobody asks for it")
		require.NoError(t, ask(first, int64(60)))
		require.Equal(t, wire.ComplianceStatusCompliant, s.complies(c, first))

		level.WarnPercentUsed = 40
		call[api.Container](l, "PATCH", "/api/v1/containers/small", map[string]any{"serviceLevels": []vvol.ServiceLevel{level}}, http.StatusOK)
		require.Equal(t, "Yellow", status(), "of the level, which is lower")
		r, err := vasatest.Do[wire.QueryComplianceResultResponse](l.ctx, c, &wire.QueryComplianceResult{Compliance: []wire.ComplianceSubject{{ObjectID: []string{first}}}})
		require.NoError(t, err)
		require.Equal(t, wire.ComplianceStatusNonCompliant, r.Return[0].ComplianceStatus)
		require.Len(t, r.Return[0].ViolatedPolicy, 1)
		violated := r.Return[0].ViolatedPolicy[0].CurrentValue
		require.Equal(t, "spaceWarning", violated.CapabilityID.ID)
		require.Equal(t, "60", violated.Constraint[0].PropertyInstance[0].Value)
		require.NoError(t, ask(first, int64(40)))
		require.Equal(t, wire.ComplianceStatusCompliant, s.complies(c, first))
	})
}
