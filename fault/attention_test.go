package fault

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/scsi/cdb"
	"vvsim/vvol"
)

func watched(t *testing.T) (*Injector, *hand, *nowhere) {
	i := open(t, Options{Name: func(vvol.ID) string { return "disk1" }})
	h, behind := newHand(), &nowhere{}
	i.UseClock(h)
	i.NewTarget(behind, behind)
	return i, h, behind
}

// A unit attention is raised each time its rule comes into force, where the rule says, and
// counts as what it broke.
func TestAttention(t *testing.T) {
	for conditions, want := range map[string]string{
		"": "2A/09 iqn.a:0 iqn.a:1 iqn.b:0 iqn.b:1", "host=iqn.b": "2A/09 iqn.b:0 iqn.b:1", "portal=1": "2A/09 iqn.a:0 iqn.a:1",
		"vvol=disk1": "2A/09 iqn.a:1 iqn.b:1", "pe=pe0 host=iqn.a": "2A/09 iqn.a:0 iqn.a:1", "pe=pe1": "2A/09",
	} {
		i, _, behind := watched(t)
		s := add(t, i, "lu "+conditions+" -> attention 2A/9")
		require.Equal(t, want, behind.heard(), conditions)
		s, err := i.Show(s.ID)
		require.NoError(t, err)
		require.EqualValues(t, 1, s.Hits)
		require.Nil(t, i.units.Load(), "no command has to look at it")
		require.NoError(t, i.Clear(t.Context()))
		require.Empty(t, behind.heard())
	}
	for action, want := range map[string]string{"reservation-lost": "2A/03 iqn.a:1", "reservation-lost released": "2A/04 iqn.a:1"} {
		i, _, behind := watched(t)
		add(t, i, "lu vvol=disk1 host=iqn.a count=1 -> "+action)
		require.Equal(t, want, behind.heard())
		require.Equal(t, Over, i.List()[0].Phase)
		require.NoError(t, i.Clear(t.Context()))
		require.Empty(t, behind.heard())
	}
	i, h, behind := watched(t)
	add(t, i, "lu name=a from=5s for=1s each=10s after=1 count=2 host=iqn.a vvol=disk1 -> attention 3F/0E")
	add(t, i, "lu on=a host=iqn.b vvol=disk1 for=1s -> attention 2A/01")
	h.step(14 * time.Second)
	require.Empty(t, behind.heard(), "after=1")
	h.step(time.Second)
	require.Equal(t, "3F/0E iqn.a:1 2A/01 iqn.b:1", behind.heard())
	h.step(time.Hour)
	require.Equal(t, "3F/0E iqn.a:1 2A/01 iqn.b:1", behind.heard(), "count=2")
}

// slowly tells hosts when it may.
type slowly struct {
	*nowhere
	begun, may chan struct{}
}

func (s slowly) Attention(code scsi.ASC, to func(*scsi.Nexus, vvol.ID, string) bool) int {
	s.begun <- struct{}{}
	<-s.may
	return s.nowhere.Attention(code, to)
}

// A rule that has been removed tells nothing any more, also when its time was just telling:
// removal waits for that. Seen to fail with unlock in the place of unlockQuietly.
func TestRemovalWhileTelling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := open(t, Options{})
		h, behind := newHand(), slowly{&nowhere{}, make(chan struct{}), make(chan struct{})}
		i.UseClock(h)
		i.NewTarget(behind, behind)
		add(t, i, "lu from=5s -> attention 29/00")
		go h.step(5 * time.Second)
		<-behind.begun
		removed := false
		go func() {
			assert.NoError(t, i.Clear(t.Context()))
			removed = true
		}()
		synctest.Wait()
		require.False(t, removed)
		close(behind.may)
		synctest.Wait()
		require.True(t, removed)
		require.NotEmpty(t, behind.heard(), "before the removal returned")
	})
}

// Hosts hear of a state of ports on every path when it comes and when it goes.
func TestAccessStates(t *testing.T) {
	i, h, behind := watched(t)
	add(t, i, "lu portal=1 vvol=disk1 for=1m -> alua standby")
	require.Equal(t, "2A/06 iqn.a:1 iqn.b:1", behind.heard())
	h.step(time.Minute)
	require.Equal(t, "2A/06 iqn.a:1 iqn.b:1", behind.heard())
	require.NoError(t, i.Clear(t.Context()))
	require.Empty(t, behind.heard(), "it had gone")
	add(t, i, "lu host=iqn.b -> unavailable")
	behind.heard()
	require.NoError(t, i.Clear(t.Context()))
	require.Equal(t, "2A/06 iqn.b:0 iqn.b:1", behind.heard())
	add(t, i, "lu op=read -> unavailable")
	i.Close()
	require.Empty(t, behind.heard(), "an answer to some commands is no state of a port, and an array that stops tells nothing")
}

// Which commands pass in which state.
func TestBarred(t *testing.T) {
	a := nexus("iqn.a", 1)
	for action, want := range map[string]string{
		"alua active-nonoptimized": "......", "alua standby": "xx....", "alua unavailable": "xxx...", "alua transitioning": "xxx...", "unavailable": "xxx...",
	} {
		i, _, behind := watched(t)
		target := i.NewTarget(behind, behind)
		add(t, i, "lu -> "+action)
		got := ""
		for _, k := range []*scsi.Task{task(a, 1, 0), task(a, 1, read(0, 1)...), task(a, 1, 0x1a), task(a, 1, 0x12), task(a, 1, 0xa0), task(a, 1, 0xa3, scsi.SAReportTargetPortGroups)} {
			target.Prepare(k)
			if r := target.Execute(k); r.Status == scsi.StatusGood {
				got += "."
			} else {
				require.Equal(t, scsi.NotReady, r.Sense.Key)
				got += "x"
			}
		}
		require.Equal(t, want, got, action)
	}
}

// Commands that read a bad block fail until one has written it, which is executed and no hit.
func TestMediumError(t *testing.T) {
	i, _, behind := watched(t)
	target := i.NewTarget(behind, behind)
	s := add(t, i, "lu vvol=disk1 lba=5-9 -> medium-error")
	a := nexus("iqn.a", 1)
	do := func(op scsi.OpCode, lba uint64, blocks uint32) scsi.Response {
		c := cdb.Block{Op: op, LBA: lba, Blocks: blocks}
		k := task(a, 1, c.AppendTo(nil)...)
		target.Prepare(k)
		return target.Execute(k)
	}
	for _, op := range []scsi.OpCode{scsi.OpRead10, scsi.OpRead16, scsi.OpVerify16, scsi.OpCompareAndWrite, scsi.OpOrWrite16} {
		require.Equal(t, scsi.ReadError(6), *do(op, 6, 1).Sense, "%v", op)
	}
	require.Equal(t, scsi.StatusGood, do(scsi.OpRead16, 0, 5).Status)
	require.Equal(t, scsi.ReadError(5), *do(scsi.OpRead16, 0, 64).Sense)
	require.Equal(t, scsi.StatusGood, do(scsi.OpWrite16, 0, 7).Status)
	require.Equal(t, scsi.ReadError(7), *do(scsi.OpRead16, 0, 64).Sense)
	require.Equal(t, scsi.StatusGood, do(scsi.OpWriteSame16, 8, 0).Status, "to the end of the medium")
	require.Equal(t, scsi.ReadError(7), *do(scsi.OpRead16, 0, 64).Sense)
	require.Equal(t, scsi.StatusGood, do(scsi.OpWriteAndVerify10, 7, 1).Status)
	require.Equal(t, scsi.StatusGood, do(scsi.OpRead16, 0, 64).Status)
	s, err := i.Show(s.ID)
	require.NoError(t, err)
	require.EqualValues(t, 8, s.Hits)
	require.Zero(t, target.broken.Load())
}
