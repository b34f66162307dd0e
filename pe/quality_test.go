package pe

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/vvol"
)

func ptr[T any](v T) *T { return &v }

// adjust changes what is named of a volume's quality.
func (r *rig) adjust(v vvol.VirtualVolume, q vvol.QualitySpec) {
	r.t.Helper()
	_, err := r.service.AdjustPolicy(r.t.Context(), v.ID, vvol.PolicySpec{Quality: q})
	require.NoError(r.t, err)
	c, err := r.service.Compliance(r.t.Context(), v.ID)
	require.NoError(r.t, err)
	require.True(r.t, c.Compliant, "%v", c.Violations)
}

// write is WRITE(10) of one block at 0.
var write = []byte{0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0}

// send runs a command with Data-Out.
func (s *session) send(lun scsi.LUN, data []byte, cdb ...byte) outcome {
	t := s.task(lun, slices.Clone(cdb))
	t.DataOut, t.ExpectedOut = data, uint32(len(data))
	s.r.target.Prepare(t)
	return s.finish(t)
}

// The commands of a volume share its limits, over all hosts, paths and aliases: what is
// beyond them comes later, and never fails. Other volumes, and commands that move no data, do not wait.
func TestLimitsAreOfTheVolume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, time.Minute)
		v, other := r.create("slow"), r.create("fast")
		a, b := r.login("a", 1), r.login("b", 1)
		la, lb, lo := r.bind(v, "a"), r.bind(v, "b"), r.bind(other, "a")
		a.settle(la, lo)
		b.settle(lb)
		r.adjust(v, vvol.QualitySpec{MaxIOPS: ptr(uint64(10))})
		start := time.Now()
		var all []<-chan outcome
		for range 20 {
			all = append(all, a.begin(la, read...), b.begin(lb, read...))
		}
		for range 100 {
			require.Equal(t, "good", a.run(lo, read...).String())
			require.Equal(t, "good", a.ready(la))
			require.Equal(t, "good", a.run(la, 0x35).String(), "SYNCHRONIZE CACHE")
		}
		require.Zero(t, time.Since(start))
		for _, c := range all {
			require.Equal(t, "good", await(t, c).String())
		}
		require.InDelta(t, 3.9, time.Since(start).Seconds(), 0.11)
		r.adjust(v, vvol.QualitySpec{MaxIOPS: ptr(uint64(0)), MaxBytesPerSec: ptr(uint64(64 << 10))})
		start = time.Now()
		for range 129 {
			require.Equal(t, "good", b.send(lb, make([]byte, 512), write...).String())
		}
		require.InDelta(t, 1, time.Since(start).Seconds(), 0.11)
		start = time.Now()
		r.adjust(v, vvol.QualitySpec{MaxBytesPerSec: ptr(uint64(0))})
		for range 1000 {
			require.Equal(t, "good", a.run(la, read...).String())
		}
		require.Zero(t, time.Since(start))
		a.logout()
		b.logout()
	})
}

// What waits for its turn can be aborted, ends with its session and with its binding,
// and then does not count; a new limit, or none, holds for it at once.
func TestThrottledCommandsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1500*time.Millisecond)
		v := r.create("slow")
		a, b, c := r.login("a", 1), r.login("b", 1), r.login("c", 1)
		la, lb, lc := r.bind(v, "a"), r.bind(v, "b"), r.bind(v, "c")
		a.settle(la)
		b.settle(lb)
		c.settle(lc)
		r.adjust(v, vvol.QualitySpec{MaxIOPS: ptr(uint64(1))})
		start := time.Now()
		require.Equal(t, "good", a.run(la, read...).String())
		var as, bs, cs []<-chan outcome
		for range 30 {
			as, bs, cs = append(as, a.begin(la, read...)), append(bs, b.begin(lb, read...)), append(cs, c.begin(lc, read...))
			synctest.Wait()
		}
		require.Equal(t, scsi.FunctionComplete, a.manage(scsi.AbortTaskSet, la, 0))
		for _, x := range as {
			require.Equal(t, "silence", await(t, x).String())
		}
		b.logout()
		for _, x := range bs {
			require.Equal(t, "silence", await(t, x).String())
		}
		require.Zero(t, time.Since(start))
		require.Equal(t, "good", await(t, cs[0]).String())
		require.Equal(t, time.Second, time.Since(start), "those that left do not count")
		r.adjust(v, vvol.QualitySpec{MaxIOPS: ptr(uint64(100))})
		require.Equal(t, "good", await(t, cs[1]).String())
		require.Equal(t, 1010*time.Millisecond, time.Since(start))
		r.adjust(v, vvol.QualitySpec{MaxIOPS: ptr(uint64(1))})
		r.unbind(v, "c") // drains until between one turn and the next
		ends := map[string]int{}
		for _, x := range cs[2:] {
			ends[await(t, x).String()]++
		}
		require.Equal(t, map[string]int{"good": 1, "TASK ABORTED": 27}, ends)
		last := a.begin(la, read...)
		synctest.Wait()
		now := time.Now()
		r.adjust(v, vvol.QualitySpec{MaxIOPS: ptr(uint64(0))})
		require.Equal(t, "good", await(t, last).String())
		require.Zero(t, time.Since(now))
		a.logout()
		c.logout()
	})
}

// A command that may wait is not offered to the connection's reader.
func TestThrottledCommandsAreNotPrompt(t *testing.T) {
	r := newRig(t, 0)
	v := r.create("v")
	a := r.login("a", 1)
	lun := r.bind(v, "a")
	a.settle(lun)
	for _, limited := range []bool{false, true, false} {
		n := uint64(0)
		if limited {
			n = 1 << 20
		}
		r.adjust(v, vvol.QualitySpec{MaxIOPS: &n})
		task := a.task(lun, slices.Clone(read))
		r.target.Prepare(task)
		require.Equal(t, !limited, task.Prompt)
		require.Equal(t, "good", a.finish(task).String())
	}
}

// With durability sync everything that changes the medium is on stable storage before
// its status, the write cache reads as disabled and cannot be enabled, and initiators hear
// of the change; a reset does not undo it.
func TestSyncVolume(t *testing.T) {
	r := newRig(t, 0)
	v := r.create("v")
	a := r.login("a", 1)
	lun := r.bind(v, "a")
	a.settle(lun)
	cache := func() (wce, changeable byte) {
		o := a.run(lun, 0x1a, 8, 0x08, 0, 255)
		require.Equal(t, "good", o.String())
		m := a.run(lun, 0x1a, 8, 0x48, 0, 255)
		require.Equal(t, "good", m.String())
		return o.data[4+2] & 4, m.data[4+2] & 4
	}
	block := make([]byte, 1024)
	block[0] = 1
	naa := VolumeNAA(7, v)
	// One identification descriptor, and one segment from block 0 to block 64.
	list := make([]byte, 16+32+28)
	list[3], list[11] = 32, 28
	copy(list[16:], []byte{0xe4, 0, 0, 0, 1, 3, 0, 16})
	copy(list[24:], naa[:])
	list[16+30] = 2 // 512
	copy(list[48:], []byte{0x02, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 8})
	list[48+27] = 64
	changes := func() (loose, all int64) {
		before := r.engine.changes.Load()
		r.engine.loose.Store(0)
		for _, x := range []struct {
			data []byte
			cdb  []byte
		}{
			{block[:512], write},
			{block[:512], []byte{0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0}},                                                         // WRITE SAME(16)
			{make([]byte, 512), []byte{0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0}},                                                   // of zeros
			{make([]byte, 512), []byte{0x93, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0}},                                                   // with UNMAP
			{append([]byte{0, 22, 0, 16, 0, 0, 0, 0}, append(make([]byte, 11), 8, 0, 0, 0, 0)...), []byte{0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0}}, // UNMAP
			{make([]byte, 1024), []byte{0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0}},                                                  // COMPARE AND WRITE
			{block[:512], []byte{0x8b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0}},                                                         // ORWRITE(16)
			{list, []byte{0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(len(list)), 0, 0}},                                                  // EXTENDED COPY(LID1)
		} {
			require.Equal(t, "good", a.send(lun, x.data, x.cdb...).String(), "%x", x.cdb[0])
		}
		return r.engine.loose.Load(), int64(r.engine.changes.Load() - before)
	}
	wce, changeable := cache()
	require.Equal(t, []byte{4, 4}, []byte{wce, changeable})
	loose, all := changes()
	require.Equal(t, all, loose)
	require.EqualValues(t, 8, all)

	r.adjust(v, vvol.QualitySpec{Durability: ptr(vvol.DurabilitySync)})
	q, attached := r.target.Quality(v.ID)
	require.True(t, attached)
	require.Equal(t, vvol.DurabilitySync, q.Durability)
	require.Equal(t, "6/2A/01", a.ready(lun))
	wce, changeable = cache()
	require.Equal(t, []byte{0, 0}, []byte{wce, changeable})
	loose, all = changes()
	require.Zero(t, loose)
	require.EqualValues(t, 8, all)
	enable := append([]byte{0, 0, 0, 0, 0x08, 18, 4}, make([]byte, 17)...)
	require.Equal(t, "5/26/00", a.send(lun, enable, 0x15, 0x10, 0, 0, byte(len(enable)), 0).String())
	require.Equal(t, scsi.FunctionComplete, a.manage(scsi.LogicalUnitReset, lun, 0))
	require.Equal(t, "6/29/03", a.ready(lun))
	loose, _ = changes()
	require.Zero(t, loose, "after a reset")
	r.adjust(v, vvol.QualitySpec{MaxIOPS: ptr(uint64(1000))})
	require.Equal(t, "good", a.ready(lun), "the durability is as before")

	r.adjust(v, vvol.QualitySpec{Durability: ptr(vvol.DurabilityFlush)})
	require.Equal(t, "6/2A/01", a.ready(lun))
	wce, changeable = cache()
	require.Equal(t, []byte{4, 4}, []byte{wce, changeable})
	loose, all = changes()
	require.Equal(t, all, loose)
}

// A volume that is attached has its quality in force from its first command on, by
// whichever way it is reached.
func TestQualityAtAttach(t *testing.T) {
	r := newRig(t, 0)
	v, err := r.service.Create(t.Context(), vvol.CreateSpec{Container: "default", Size: 4 << 20, PolicySpec: vvol.PolicySpec{
		Quality: vvol.QualitySpec{MaxIOPS: ptr(uint64(9)), MaxBytesPerSec: ptr(uint64(1 << 20)), Durability: ptr(vvol.DurabilitySync)}}})
	require.NoError(t, err)
	_, attached := r.target.Quality(v.ID)
	require.False(t, attached)
	r.target.SetQuality(v) // of what is not attached: nothing
	_, err = r.service.MapLUN(t.Context(), v.ID, nil)
	require.NoError(t, err)
	q, attached := r.target.Quality(v.ID)
	require.True(t, attached)
	require.Equal(t, vvol.Quality{MaxIOPS: 9, MaxBytesPerSec: 1 << 20, Durability: "sync"}, q)
	require.NoError(t, r.service.UnmapLUN(t.Context(), 0))
	_, attached = r.target.Quality(v.ID)
	require.False(t, attached)
}
