package scenario

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/scsi/cdb"
	"vvsim/scsi/iscsi/initiator"
)

// attended shows that the next command of a unit is told of a unit attention, once, and in
// which bytes.
func (s *stage) attended(u *initiator.Unit, code scsi.ASC) {
	s.t.Helper()
	r, err := u.Execute(s.ctx, tur, nil, 0)
	require.Error(s.t, err)
	require.Equal(s.t, []byte{0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, byte(code >> 8), byte(code), 0, 0, 0, 0}, r.SenseBytes)
	require.NoError(s.t, u.TestUnitReady(s.ctx))
}

// TestAttentions raises unit attentions by rules: what a host is told without anything
// having changed, on the device, the host and the path that the rule names.
func TestAttentions(t *testing.T) {
	s := newStage(t)
	for _, code := range []scsi.ASC{scsi.ReportedLUNsDataChanged, scsi.CapacityDataChanged, scsi.ThinProvisioningThreshold, scsi.ReservationsPreempted,
		scsi.ReservationsReleased, scsi.AccessStateChanged, scsi.ModeParametersChanged, scsi.PowerOnResetOrBusDeviceReset, scsi.NexusLossOccurred} {
		f := s.addFault(victimOnPath1 + "-> attention " + code.String())
		require.EqualValues(t, 1, s.hits(f))
		s.othersUnharmed()
		s.attended(s.v1, code)
		s.removeFault(f)
		s.healed()
	}
	f := s.addFault("lu vvol=victim -> attention 3F/0E")
	for _, u := range []*initiator.Unit{s.v1, s.v2, s.vh} {
		_, err := u.Inquiry(s.ctx)
		require.NoError(t, err, "INQUIRY leaves it pending")
		s.attended(u, scsi.ReportedLUNsDataChanged)
	}
	s.othersUnharmed()
	s.removeFault(f)
	f = s.addFault("lu pe=pe0 host=iqn.1998-01.com.vmware:esx1 -> attention 3F/0E")
	for _, u := range []*initiator.Unit{s.v1, s.v2, s.sister, s.pe} {
		s.attended(u, scsi.ReportedLUNsDataChanged)
	}
	require.NoError(t, s.vh.TestUnitReady(s.ctx))
	sense, err := s.v1.RequestSense(s.ctx, false)
	require.NoError(t, err)
	require.Equal(t, scsi.NoSense, sense.Key)
	s.removeFault(f)
	s.healed()
	s.othersUnharmed()
}

// states are the access states that REPORT TARGET PORT GROUPS tells, by group.
func (s *stage) states(u *initiator.Unit) map[byte]byte {
	s.t.Helper()
	b, err := u.ParameterIn(s.ctx, cdb.Parameter{Op: scsi.OpMaintenanceIn, Byte1: scsi.SAReportTargetPortGroups, Length: 255})
	require.NoError(s.t, err)
	return map[byte]byte{b[7]: b[4] & 0xf, b[19]: b[16] & 0xf}
}

// TestAccessStates follows a target port group through the states of ALUA: every path hears
// of the change and tells the same, commands that came in by the group end as the state
// says, and those by the other are executed.
func TestAccessStates(t *testing.T) {
	s := newStage(t)
	victim := []*initiator.Unit{s.v1, s.v2, s.vh}
	for _, c := range []struct {
		action string
		state  byte
		code   scsi.ASC // NoAdditionalSense: commands pass
		modes  bool     // MODE SENSE passes
	}{
		{"unavailable", 3, scsi.TargetPortUnavailable, false}, {"alua unavailable", 3, scsi.TargetPortUnavailable, false},
		{"alua standby", 2, scsi.TargetPortStandby, true}, {"alua transitioning", 0xf, scsi.AccessStateTransition, false},
		{"alua active-nonoptimized", 1, scsi.NoAdditionalSense, true},
	} {
		f := s.addFault("lu vvol=victim portal=1 -> " + c.action)
		for _, u := range victim {
			require.Equal(t, "6/2A/06", s.sense(u.TestUnitReady(s.ctx)), c.action)
		}
		for _, u := range victim {
			require.Equal(t, map[byte]byte{1: c.state, 2: 0}, s.states(u), c.action)
		}
		require.Equal(t, map[byte]byte{1: 0, 2: 0}, s.states(s.sister))
		for _, u := range []*initiator.Unit{s.v1, s.vh} {
			r, err := u.Execute(s.ctx, tur, nil, 0)
			if c.code == scsi.NoAdditionalSense {
				require.NoError(t, err)
				s.holds(u, 0, s.content)
				continue
			}
			require.Error(t, err)
			require.Equal(t, []byte{0x70, 0, 2, 0, 0, 0, 0, 10, 0, 0, 0, 0, byte(c.code >> 8), byte(c.code), 0, 0, 0, 0}, r.SenseBytes, c.action)
			_, err = u.ReadAt(s.ctx, make([]byte, 512), 0)
			require.Equal(t, fmt.Sprintf("2/%v", c.code), s.sense(err))
		}
		_, err := s.v1.Execute(s.ctx, []byte{0x1a, 0, 0x3f, 0, 255, 0}, nil, 255)
		require.Equal(t, c.modes, err == nil, c.action)
		s.holds(s.v2, 0, s.content)
		s.write(s.v2, 0, s.content)
		require.NoError(t, s.sister.TestUnitReady(s.ctx))
		s.removeFault(f)
		for _, u := range victim {
			s.attended(u, scsi.AccessStateChanged)
			require.Equal(t, map[byte]byte{1: 0, 2: 0}, s.states(u))
		}
		s.healed()
		s.othersUnharmed()
	}
}

// TestBadBlock reads a block that is bad until it is written, on a path and in the engine,
// where copies inside the array meet it too.
func TestBadBlock(t *testing.T) {
	s := newStage(t)
	sense := func(lba byte) []byte {
		return []byte{0xf0, 0, 3, 0, 0, 0, lba, 10, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0}
	}
	for _, rule := range []string{victimOnPath1 + "lba=3-4 -> medium-error", "engine vvol=victim lba=3-4 -> medium-error"} {
		f := s.addFault(rule)
		r, err := s.v1.Execute(s.ctx, read8, nil, stageBytes)
		require.Error(t, err)
		require.Equal(t, sense(3), r.SenseBytes, rule)
		s.holds(s.v1, 0, s.content[:3*512])
		s.holds(s.v1, 5*512, s.content[5*512:])
		require.Equal(t, "3/11/00", s.sense(s.v1.CompareAndWrite(s.ctx, 4, s.content[4*512:5*512], s.content[4*512:5*512])))
		s.holds(s.sister, 0, s.sisterContent)
		require.EqualValues(t, 2, s.hits(f))
		s.write(s.v1, 3*512, s.content[3*512:4*512])
		s.holds(s.v1, 0, s.content[:4*512])
		r, err = s.v1.Execute(s.ctx, read8, nil, stageBytes)
		require.Error(t, err)
		require.Equal(t, sense(4), r.SenseBytes, rule)
		s.write(s.v1, 0, s.content)
		s.healed()
		s.othersUnharmed()
		require.EqualValues(t, 3, s.hits(f))
		s.removeFault(f)
		s.healed()
	}
	f := s.addFault(victimOnPath1 + "lba=3-4 -> medium-error")
	s.othersUnharmed()
	s.removeFault(f)
	s.healed()
}

// TestMiscompare shows a COMPARE AND WRITE that fails though the data are those that the
// host expects, and writes nothing.
func TestMiscompare(t *testing.T) {
	s := newStage(t)
	next := random(9, 512)
	f := s.addFault(victimOnPath1 + "-> miscompare")
	c := cdb.Block{Op: scsi.OpCompareAndWrite, Blocks: 1}
	r, err := s.v1.Execute(s.ctx, c.AppendTo(nil), append(s.content[:512:512], next...), 0)
	require.Error(t, err)
	require.Equal(t, []byte{0xf0, 0, 0xe, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x1d, 0, 0, 0, 0, 0}, r.SenseBytes)
	s.healed()
	for _, u := range []*initiator.Unit{s.v2, s.vh} {
		require.NoError(t, u.CompareAndWrite(s.ctx, 0, s.content[:512], s.content[:512]))
	}
	s.othersUnharmed()
	s.removeFault(f)
	require.NoError(t, s.v1.CompareAndWrite(s.ctx, 0, s.content[:512], s.content[:512]))
	s.healed()
}

// TestReservationLost takes a reservation from hosts that share a device: those that are
// registered are told, the others may write from then on, and it can be taken again.
func TestReservationLost(t *testing.T) {
	s := newStage(t)
	const registrantsOnly = 5 // WRITE EXCLUSIVE - REGISTRANTS ONLY
	out := func(u *initiator.Unit, action byte, key, next uint64) error {
		return u.PersistentReserveOut(s.ctx, initiator.PersistentReservation{ServiceAction: action, Type: registrantsOnly, Key: key, ServiceActionKey: next})
	}
	keys := func() int {
		b, err := s.v2.PersistentReserveIn(s.ctx, scsi.SAPersistentReadKeys)
		require.NoError(t, err)
		return (len(b) - 8) / 8
	}
	conflict := func(u *initiator.Unit) bool {
		_, err := u.WriteAt(s.ctx, s.content, 0, false)
		status, is := errors.AsType[*initiator.StatusError](err)
		return is && status.Status == scsi.StatusReservationConflict
	}
	require.NoError(t, out(s.v1, scsi.SAPersistentRegister, 0, 1))
	require.NoError(t, out(s.vh, scsi.SAPersistentRegister, 0, 2))
	for range 2 {
		require.NoError(t, out(s.v1, scsi.SAPersistentReserve, 1, 0))
		require.True(t, conflict(s.v2))
		require.False(t, conflict(s.vh), "it is registered")
		f := s.addFault("lu vvol=victim -> reservation-lost released")
		s.attended(s.v1, scsi.ReservationsReleased)
		s.attended(s.vh, scsi.ReservationsReleased)
		s.alive(s.v2)
		require.False(t, conflict(s.v2))
		require.Equal(t, 2, keys())
		s.removeFault(f)
	}
	require.NoError(t, out(s.v1, scsi.SAPersistentReserve, 1, 0))
	f := s.addFault("lu vvol=victim -> reservation-lost")
	s.attended(s.v1, scsi.ReservationsPreempted)
	s.attended(s.vh, scsi.ReservationsPreempted)
	s.alive(s.v2, s.sister, s.pe)
	require.Zero(t, keys())
	require.Error(t, out(s.v1, scsi.SAPersistentReserve, 1, 0), "it is not registered any more")
	require.False(t, conflict(s.v2))
	s.removeFault(f)
	require.NoError(t, out(s.v1, scsi.SAPersistentRegister, 0, 3))
	require.NoError(t, out(s.v1, scsi.SAPersistentReserve, 3, 0))
	require.True(t, conflict(s.vh))
	require.NoError(t, out(s.v1, scsi.SAPersistentClear, 3, 0))

	_, err := s.v1.Execute(s.ctx, []byte{0x16, 0, 0, 0, 0, 0}, nil, 0) // RESERVE(6)
	require.NoError(t, err)
	require.True(t, conflict(s.vh))
	f = s.addFault("lu vvol=victim -> reservation-lost")
	require.False(t, conflict(s.vh))
	s.removeFault(f)
	s.healed()
	s.othersUnharmed()
}
