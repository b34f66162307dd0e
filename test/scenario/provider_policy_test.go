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
