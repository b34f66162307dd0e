package scenario

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/api"
	"vvsim/array"
	"vvsim/scsi"
	"vvsim/scsi/iscsi/host"
	"vvsim/scsi/iscsi/initiator"
)

// TestLossByUnbind: somebody unbinds a volume that a host writes. Its paths say one after the
// other that there is nothing, and it is lost for good; its sister and its endpoint, which
// tells that there are other LUNs, work on. The same in bytes, for another host. Closed, it is
// removed; bound again, it is a new device with what was written.
func TestLossByUnbind(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		x := l.esx("esx1", nil)
		content := random(1, 64<<10)
		v, victim, sister := x.pair(content)
		other := l.login("esx2", 1)
		lun, endpoint := l.unit(other, l.bind(v, "esx2").LUN), l.unit(other, "0100000000000000")

		unbindAll(l, v.ID)
		_, err := victim.unit.WriteAt(l.ctx, content, 0, false)
		require.Equal(t, "5/25/00", l.sense(err))
		require.Equal(t, []host.PathState{host.Lost, host.Lost}, victim.paths())
		require.Equal(t, []string{"0s on", "0s degraded", "0s permanent-loss"}, victim.history())
		r, err := lun.Execute(l.ctx, []byte{0x12, 0, 0, 0, 96, 0}, nil, 96)
		require.NoError(t, err)
		require.EqualValues(t, 0x7f, r.DataIn[0], "no unit, and no type")
		r, err = lun.Execute(l.ctx, tur, nil, 0)
		require.Error(t, err)
		require.Equal(t, []byte{0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x25, 0, 0, 0, 0, 0}, r.SenseBytes)
		r, err = endpoint.Execute(l.ctx, tur, nil, 0)
		require.Error(t, err)
		require.Equal(t, scsi.ReportedLUNsDataChanged, r.Sense.Code)
		require.NoError(t, endpoint.TestUnitReady(l.ctx))
		l.write(sister.unit, 0, content)
		require.Equal(t, []string{"0s on"}, sister.history())

		pass(time.Minute)
		victim.handle.Close()
		require.Equal(t, host.Removed, victim.State())
		again := x.open(v, host.ByGuest)
		require.Equal(t, host.On, again.State())
		l.holds(again.unit, 0, content)
		l.write(again.unit, 0, random(2, 64<<10))
		l.holds(sister.unit, 0, content)
	})
}

// TestLossOfOneEndpoint: an array with two endpoints, volumes behind each, and a loss of one of
// them, by its name. What is behind the other works on, for both hosts and on both paths.
func TestLossOfOneEndpoint(t *testing.T) {
	l := newLab(t, ":memory:", func(c *array.Config) {
		c.PEs = []array.PEConfig{{Name: "left", LUN: 256}, {Name: "right", LUN: 257}}
	})
	behind := map[string][]*initiator.Unit{}
	luns := map[string]string{}
	for _, p := range call[[]api.PE](l, "GET", "/api/v1/pes", nil, http.StatusOK) {
		luns[p.ID] = p.Name
	}
	require.Len(t, luns, 2)
	sessions := []*initiator.Session{l.login("esx1", 0), l.login("esx1", 1)}
	other := l.login("esx2", 0)
	for n := range 8 {
		v := l.create(string(rune('a'+n)), 1<<20)
		b := l.bind(v, "esx1")
		for _, s := range sessions {
			behind[luns[b.PE]] = append(behind[luns[b.PE]], l.unit(s, b.LUN))
		}
		b = l.bind(v, "esx2")
		behind[luns[b.PE]] = append(behind[luns[b.PE]], l.unit(other, b.LUN))
	}
	require.Len(t, behind, 2, "volumes are behind both")
	for lost, works := range map[string]string{"left": "right", "right": "left"} {
		f := l.addFault("lu pe=" + lost + " -> pdl")
		for _, u := range behind[lost] {
			require.Equal(t, "5/25/00", l.sense(u.TestUnitReady(l.ctx)))
		}
		for _, u := range behind[works] {
			require.NoError(t, u.TestUnitReady(l.ctx))
		}
		l.removeFault(f)
		for _, u := range append(behind[lost], behind[works]...) {
			require.NoError(t, u.TestUnitReady(l.ctx))
		}
	}
}
