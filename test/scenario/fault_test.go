package scenario

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"vvsim/api"
	"vvsim/array"
	"vvsim/fault"
	"vvsim/scsi"
	"vvsim/scsi/cdb"
	"vvsim/scsi/iscsi/initiator"
	"vvsim/scsi/iscsi/pdu"
)

// stage is what every story of faults plays on: two volumes that two hosts have bound,
// one host with two paths.
type stage struct {
	*lab
	path1, path2, host2    *initiator.Session // esx1 at portals 1 and 2, esx2 at portal 1
	v1, v2, vh             *initiator.Unit    // the victim on each of them
	sister                 *initiator.Unit    // on path1
	pe                     *initiator.Unit    // on path1
	content, sisterContent []byte
}

const stageBytes = 4096

func newStage(t testing.TB) *stage { return newStageAt(t, nil) }

// newStageAt has fault rules go by a clock.
func newStageAt(t testing.TB, clock fault.Clock) *stage {
	s := &stage{lab: newLabAt(clock, nil, t, ":memory:", nil)}
	victim, sister := s.create("victim", 8<<20), s.create("sister", 8<<20)
	bv, bs := s.bind(victim, "esx1"), s.bind(sister, "esx1")
	bh := s.bind(victim, "esx2")
	s.path1, s.path2, s.host2 = s.login("esx1", 0), s.login("esx1", 1), s.login("esx2", 0)
	s.v1, s.v2, s.vh = s.unit(s.path1, bv.LUN), s.unit(s.path2, bv.LUN), s.unit(s.host2, bh.LUN)
	s.sister, s.pe = s.unit(s.path1, bs.LUN), s.unit(s.path1, "0100000000000000")
	s.content, s.sisterContent = random(1, stageBytes), random(2, stageBytes)
	s.write(s.v1, 0, s.content)
	s.write(s.sister, 0, s.sisterContent)
	return s
}

// reconnect logs in anew on all paths, where sessions were lost.
func (s *stage) reconnect() {
	s.t.Helper()
	old := *s
	for _, x := range []*initiator.Session{s.path1, s.path2, s.host2} {
		_ = x.Close()
	}
	s.path1, s.path2, s.host2 = s.login("esx1", 0), s.login("esx1", 1), s.login("esx2", 0)
	s.v1, s.v2, s.vh = s.unit(s.path1, old.v1.LUN().String()), s.unit(s.path2, old.v2.LUN().String()), s.unit(s.host2, old.vh.LUN().String())
	s.sister, s.pe = s.unit(s.path1, old.sister.LUN().String()), s.unit(s.path1, old.pe.LUN().String())
}

func (l *lab) addFault(rule string) api.Fault {
	l.t.Helper()
	f := call[api.Fault](l, "POST", "/api/v1/faults", map[string]any{"rule": rule}, http.StatusCreated)
	require.Equal(l.t, rule, f.Rule)
	require.True(l.t, f.Active)
	return f
}

func (l *lab) removeFault(f api.Fault) {
	l.t.Helper()
	call[any](l, "DELETE", "/api/v1/faults/"+f.ID, nil, http.StatusNoContent)
}

func (l *lab) hits(f api.Fault) uint64 {
	l.t.Helper()
	return call[api.Fault](l, "GET", "/api/v1/faults/"+f.ID, nil, 0).Hits
}

func (l *lab) awaitHits(f api.Fault, n uint64) {
	l.t.Helper()
	require.Eventually(l.t, func() bool { return l.hits(f) >= n }, time.Minute, time.Millisecond)
}

// othersUnharmed shows that the sister on the same path, the victim on the other path and
// at the other host, and both sessions are as ever.
func (s *stage) othersUnharmed() {
	s.t.Helper()
	s.holds(s.sister, 0, s.sisterContent)
	s.write(s.sister, stageBytes, s.sisterContent)
	s.holds(s.v2, 0, s.content)
	s.holds(s.vh, 0, s.content)
	for _, u := range []*initiator.Unit{s.sister, s.v2, s.vh, s.pe} {
		require.NoError(s.t, u.TestUnitReady(s.ctx))
	}
	for _, x := range []*initiator.Session{s.path1, s.path2, s.host2} {
		require.NoError(s.t, x.NOP(s.ctx, nil))
	}
}

// alive shows units that work.
func (s *stage) alive(units ...*initiator.Unit) {
	s.t.Helper()
	for _, u := range units {
		require.NoError(s.t, u.TestUnitReady(s.ctx))
	}
}

// healed shows that the victim on the first path is as ever.
func (s *stage) healed() {
	s.t.Helper()
	require.NoError(s.t, s.v1.TestUnitReady(s.ctx))
	s.holds(s.v1, 0, s.content)
	s.write(s.v1, 0, s.content)
	_, err := s.v1.Inquiry(s.ctx)
	require.NoError(s.t, err)
}

func rw(op scsi.OpCode, lba uint64, blocks uint32) []byte {
	c := cdb.Block{Op: op, LBA: lba, Blocks: blocks}
	return c.AppendTo(nil)
}

var (
	tur    = make([]byte, 6)
	read8  = rw(scsi.OpRead16, 0, 8)
	write8 = rw(scsi.OpWrite10, 0, 8)
)

// victimOnPath1 scopes a rule.
const victimOnPath1 = "lu vvol=victim host=iqn.1998-01.com.vmware:esx1 portal=1 "

// TestFaultAnswers shows the bytes of each action that answers at once.
func TestFaultAnswers(t *testing.T) {
	s := newStage(t)
	sense := func(key, asc, ascq byte) []byte {
		return []byte{0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, asc, ascq, 0, 0, 0, 0}
	}
	for _, c := range []struct {
		rule          string
		status        scsi.Status
		sense         []byte
		tur, get, put bool // whether it happens to TEST UNIT READY, READ, WRITE
	}{
		{"-> pdl", scsi.StatusCheckCondition, sense(5, 0x25, 0), true, true, true},
		{"-> pdl 04/4C/00", scsi.StatusCheckCondition, sense(4, 0x4c, 0), true, true, true},
		{"-> pdl 5/68/1", scsi.StatusCheckCondition, sense(5, 0x68, 1), true, true, true},
		{"-> sense 04/3E/01", scsi.StatusCheckCondition, sense(4, 0x3e, 1), true, true, true},
		{"op=write -> sense 3/c/2", scsi.StatusCheckCondition, sense(3, 0xc, 2), false, false, true},
		{"-> busy", scsi.StatusBusy, nil, true, true, true},
		{"op=read -> task-set-full", scsi.StatusTaskSetFull, nil, false, true, false},
		{"op=media -> reservation-conflict", scsi.StatusReservationConflict, nil, false, true, true},
		{"op=any -> miscompare", 0, nil, false, false, false},
		{"lba=0-9 -> medium-error", scsi.StatusCheckCondition, []byte{0xf0, 0, 3, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0}, false, true, false},
		{"-> no-space", scsi.StatusCheckCondition, sense(7, 0x27, 7), false, false, true},
		{"lba=7 -> torn 512", scsi.StatusCheckCondition, []byte{0xf0, 0, 3, 0, 0, 0, 1, 10, 0, 0, 0, 0, 0xc, 0, 0, 0, 0, 0}, false, false, true},
		{"lba=8-9 -> pdl", 0, nil, false, false, false},
	} {
		f := s.addFault(victimOnPath1 + c.rule)
		for _, x := range []struct {
			cdb, out []byte
			in       int
			hit      bool
		}{{tur, nil, 0, c.tur}, {read8, nil, stageBytes, c.get}, {write8, s.content, 0, c.put}} {
			before := s.hits(f)
			r, err := s.v1.Execute(s.ctx, x.cdb, x.out, x.in)
			if !x.hit {
				require.NoError(t, err, "%s: %x", c.rule, x.cdb)
				require.Equal(t, before, s.hits(f))
				continue
			}
			require.Equal(t, c.status, r.Status, "%s: %x", c.rule, x.cdb)
			require.Equal(t, c.sense, r.SenseBytes, "%s: %x", c.rule, x.cdb)
			require.Empty(t, r.DataIn)
			require.Equal(t, before+1, s.hits(f))
		}
		s.othersUnharmed()
		s.removeFault(f)
		s.healed()
	}
}

// TestPermanentLoss shows what a lost device still answers, and that the loss of an
// endpoint is that of all behind it.
func TestPermanentLoss(t *testing.T) {
	s := newStage(t)
	f := s.addFault(victimOnPath1 + "-> pdl")
	r, err := s.v1.Execute(s.ctx, []byte{0x12, 0, 0, 0, 96, 0}, nil, 96)
	require.NoError(t, err)
	require.EqualValues(t, 0x7f, r.DataIn[0])
	_, err = s.v1.VPD(s.ctx, 0x83)
	require.Equal(t, "5/25/00", s.sense(err))
	for _, descriptor := range []bool{false, true} {
		data, err := s.v1.RequestSense(s.ctx, descriptor)
		require.NoError(t, err)
		require.Equal(t, scsi.UnsupportedLUN(), data)
	}
	s.othersUnharmed()
	s.removeFault(f)
	s.healed()

	f = s.addFault(victimOnPath1 + "-> pdl 04/3E/03")
	require.Equal(t, "4/3E/03", s.sense(s.v1.TestUnitReady(s.ctx)))
	inquiry, err := s.v1.Inquiry(s.ctx)
	require.NoError(t, err)
	require.Zero(t, inquiry.Raw[0], "it is broken, and not gone")
	data, err := s.v1.RequestSense(s.ctx, false)
	require.NoError(t, err)
	require.Equal(t, scsi.NoSense, data.Key)
	_, err = s.v1.ReportLUNs(s.ctx, 0x11)
	require.NoError(t, err)
	s.othersUnharmed()
	s.removeFault(f)
	s.healed()

	f = s.addFault("lu pe=pe0 host=iqn.1998-01.com.vmware:esx1 -> pdl")
	for _, u := range []*initiator.Unit{s.v1, s.v2, s.sister, s.pe} {
		require.Equal(t, "5/25/00", s.sense(u.TestUnitReady(s.ctx)))
	}
	s.holds(s.vh, 0, s.content)
	call[any](s.lab, "DELETE", "/api/v1/faults", nil, http.StatusNoContent)
	call[any](s.lab, "GET", "/api/v1/faults/"+f.ID, nil, http.StatusNotFound)
	s.othersUnharmed()
	s.healed()
}

// flying is a command that was sent.
type flying struct {
	call initiator.Call
	done chan struct{}
}

// send starts a command on the first path.
func (s *stage) send(b, out []byte, in int) *flying {
	s.t.Helper()
	f, err := s.start(b, out, in)
	require.NoError(s.t, err)
	return f
}

// start is send on a path that may be lost.
func (s *stage) start(b, out []byte, in int) (*flying, error) {
	f := &flying{done: make(chan struct{})}
	f.call.Command = initiator.Command{LUN: s.v1.LUN(), CDB: b, DataOut: out, DataInLength: in, Attribute: scsi.Simple}
	f.call.Done = func(*initiator.Call) { close(f.done) }
	return f, s.path1.Start(&f.call)
}

func (s *stage) silent(all ...*flying) {
	s.t.Helper()
	require.NoError(s.t, s.path1.NOP(s.ctx, nil), "the session lives")
	for _, f := range all {
		select {
		case <-f.done:
			s.t.Fatalf("%x was answered: %v %v", f.call.CDB, f.call.Result.Status, f.call.Err)
		default:
		}
	}
}

func (s *stage) good(all ...*flying) {
	s.t.Helper()
	for _, f := range all {
		<-f.done
		require.NoError(s.t, f.call.Err)
		require.Equal(s.t, scsi.StatusGood, f.call.Result.Status)
	}
}

// abort has a command that is silent aborted, and returns when left commands are left on
// the first path.
func (s *stage) abort(f *flying, left int) {
	s.t.Helper()
	require.True(s.t, s.path1.Cancel(&f.call))
	require.Eventually(s.t, func() bool {
		for _, x := range call[[]api.Session](s.lab, "GET", "/api/v1/sessions", nil, 0) {
			if x.Initiator == iqn("esx1") && x.PortalGroup == 1 {
				return x.InFlight == left
			}
		}
		return false
	}, time.Minute, time.Millisecond)
}

// TestAllPathsDown shows silence on one path, with the session alive; what was held is
// executed and answered when the rule goes, and not when it was aborted before.
func TestAllPathsDown(t *testing.T) {
	s := newStage(t)
	for _, action := range []string{"apd", "hang", "delay 1h"} {
		f := s.addFault(victimOnPath1 + "-> " + action)
		next, never := random(7, stageBytes), random(8, stageBytes)
		all := []*flying{s.send(tur, nil, 0), s.send(read8, nil, stageBytes), s.send(write8, next, 0)}
		s.awaitHits(f, 3)
		lost := s.send(write8, never, 0)
		s.awaitHits(f, 4)
		s.silent(append(all, lost)...)
		s.othersUnharmed()
		s.abort(lost, len(all))
		s.silent(all...)
		s.holds(s.v2, 0, s.content)
		s.removeFault(f)
		s.good(all...)
		s.content = next
		s.healed()
		s.othersUnharmed()
	}
}

// TestForgotten shows commands that are never answered: those of an APD that drops them,
// which are not executed, and those whose response is lost, which are.
func TestForgotten(t *testing.T) {
	s := newStage(t)
	next := random(7, stageBytes)
	f := s.addFault(victimOnPath1 + "-> apd drop")
	forgotten := s.send(write8, next, 0)
	s.awaitHits(f, 1)
	s.removeFault(f)
	s.healed()
	s.silent(forgotten)
	s.abort(forgotten, 0)
	s.othersUnharmed()

	f = s.addFault(victimOnPath1 + "op=write -> drop-response")
	lost := s.send(write8, next, 0)
	s.awaitHits(f, 1)
	s.content = next
	require.Eventually(t, func() bool {
		p := make([]byte, stageBytes)
		_, err := s.v2.ReadAt(s.ctx, p, 0)
		return err == nil && bytes.Equal(p, next)
	}, time.Minute, time.Millisecond, "it was executed")
	s.othersUnharmed()
	s.silent(lost)
	s.removeFault(f)
	s.healed()
	s.silent(lost)
	s.abort(lost, 0)
}

// TestHeldSession shows that what is held ends with its session, and without being done.
func TestHeldSession(t *testing.T) {
	s := newStage(t)
	f := s.addFault("lu vvol=victim host=iqn.1998-01.com.vmware:esx1 -> apd")
	held := s.send(write8, random(7, stageBytes), 0)
	s.awaitHits(f, 1)
	require.NoError(t, s.path1.Close())
	<-held.done
	require.Error(t, held.call.Err)
	again := s.login("esx1", 0) // takes the place of the one that ended: it has to be gone
	s.removeFault(f)
	s.path1, s.v1, s.sister, s.pe = again, s.unit(again, s.v1.LUN().String()), s.unit(again, s.sister.LUN().String()), s.unit(again, s.pe.LUN().String())
	s.healed()
	s.othersUnharmed()
}

// TestLyingDisk shows data that change on their way: a bit of each block or one byte,
// when read or when written, and writes that end in the middle.
func TestLyingDisk(t *testing.T) {
	s := newStage(t)
	get := func(u *initiator.Unit) []byte {
		p := make([]byte, stageBytes)
		_, err := u.ReadAt(s.ctx, p, 0)
		require.NoError(t, err)
		return p
	}
	f := s.addFault(victimOnPath1 + "op=read -> corrupt")
	first := get(s.v1)
	require.Equal(t, []int{1, 1, 1, 1, 1, 1, 1, 1}, flipped(first, s.content))
	require.Equal(t, first, get(s.v1), "the same place each time")
	s.othersUnharmed()
	s.removeFault(f)
	s.healed()

	f = s.addFault(victimOnPath1 + "op=write -> corrupt 700")
	s.write(s.v1, 0, s.content)
	want := bytes.Clone(s.content)
	want[700] ^= 1
	require.Equal(t, want, get(s.v2))
	s.removeFault(f)
	s.write(s.v1, 0, s.content)
	s.othersUnharmed()

	f = s.addFault(victimOnPath1 + "op=0x89 -> corrupt")
	require.NoError(t, s.v1.CompareAndWrite(s.ctx, 0, s.content[:512], s.content[:512]))
	require.Equal(t, []int{1, 0, 0, 0, 0, 0, 0, 0}, flipped(get(s.v2), s.content), "what is compared is not changed")
	s.removeFault(f)
	s.write(s.v1, 0, s.content)

	for _, c := range []struct {
		op     scsi.OpCode
		action string
		n      int
		silent bool
	}{
		{scsi.OpWrite6, "torn 512", 512, false}, {scsi.OpWrite10, "torn 1024", 1024, false}, {scsi.OpWrite16, "torn 0", 0, false},
		{scsi.OpWrite12, "torn 3584 silent", 3584, true}, {scsi.OpWrite6, "torn 0 silent", 0, true},
		{scsi.OpWrite16, "torn 1", 1, false}, {scsi.OpWrite10, "torn 1300", 1300, false}, {scsi.OpWrite16, "torn 4095 silent", 4095, true},
	} {
		f = s.addFault(victimOnPath1 + "-> " + c.action)
		next := random(uint64(100+c.n), stageBytes)
		r, err := s.v1.Execute(s.ctx, rw(c.op, 0, 8), next, 0)
		if c.silent {
			require.NoError(t, err)
			require.Equal(t, pdu.Residual{}, r.Residual)
		} else {
			require.Equal(t, scsi.WriteError(uint64(c.n/512)), *r.Sense)
		}
		s.content = append(bytes.Clone(next[:c.n]), s.content[c.n:]...)
		s.othersUnharmed()
		s.removeFault(f)
		s.healed()
	}
}

// flipped counts the bits of each block in which a and b differ.
func flipped(a, b []byte) []int {
	n := make([]int, len(a)/512)
	for i := range a {
		for x := a[i] ^ b[i]; x != 0; x &= x - 1 {
			n[i/512]++
		}
	}
	return n
}

// TestWritesTogether shows that a rule finds single writes among many that come at once.
func TestWritesTogether(t *testing.T) {
	s := newStage(t)
	f := s.addFault("lu vvol=victim op=write lba=5 -> busy")
	var all []*flying
	for lba := range uint64(64) {
		all = append(all, s.send(rw(scsi.OpWrite16, lba, 1), random(lba, 512), 0))
	}
	for lba, x := range all {
		<-x.done
		require.NoError(t, x.call.Err)
		want := scsi.StatusGood
		if lba == 5 {
			want = scsi.StatusBusy
		}
		require.Equal(t, want, x.call.Result.Status, lba)
	}
	require.EqualValues(t, 1, s.hits(f))
}

// TestUnbindHeld shows that what a rule holds keeps an unbind no longer than drain_timeout.
func TestUnbindHeld(t *testing.T) {
	l := newLab(t, ":memory:", func(c *array.Config) { c.Drain = array.Duration(100 * time.Millisecond) })
	b := l.bind(l.create("victim", 1<<20), "esx1")
	s := l.login("esx1", 0)
	u := l.unit(s, b.LUN)
	f := l.addFault("lu vvol=victim -> apd")
	done := make(chan error)
	go func() { done <- u.TestUnitReady(context.WithoutCancel(l.ctx)) }()
	l.awaitHits(f, 1)
	call[any](l, "DELETE", "/api/v1/bindings/"+b.ID, nil, http.StatusNoContent)
	var status *initiator.StatusError
	require.ErrorAs(t, <-done, &status)
	require.Equal(t, scsi.StatusTaskAborted, status.Status)
	require.Equal(t, "5/25/00", l.sense(u.TestUnitReady(l.ctx)), "nothing is there that the rule could hold")
}

// TestEngineFaults shows what a bad disk looks like to a host.
func TestEngineFaults(t *testing.T) {
	s := newStage(t)
	f := s.addFault("engine vvol=victim op=read -> medium-error")
	r, err := s.v1.Execute(s.ctx, read8, nil, stageBytes)
	require.Equal(t, "3/11/00", s.sense(err))
	require.Equal(t, []byte{0xf0, 0, 3, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0}, r.SenseBytes)
	s.holds(s.sister, 0, s.sisterContent)
	s.removeFault(f)
	s.healed()
	f = s.addFault("engine vvol=victim -> no-space")
	_, err = s.v1.WriteAt(s.ctx, s.content, 0, false)
	require.Equal(t, "7/27/07", s.sense(err))
	s.othersUnharmed()
	s.removeFault(f)
	s.healed()
	writeError := []byte{0xf0, 0, 3, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x0c, 0, 0, 0, 0, 0}
	f = s.addFault("engine vvol=victim op=write -> medium-error")
	for _, u := range []*initiator.Unit{s.v1, s.v2, s.vh} {
		r, err = u.Execute(s.ctx, write8, random(7, stageBytes), 0)
		require.Equal(t, "3/0C/00", s.sense(err))
		require.Equal(t, writeError, r.SenseBytes)
	}
	s.othersUnharmed() // and nothing was written
	s.removeFault(f)
	s.healed()
	flush := rw(scsi.OpSynchronizeCache10, 0, 0)
	f = s.addFault("engine vvol=victim op=flush -> medium-error")
	r, err = s.v1.Execute(s.ctx, flush, nil, 0)
	require.Equal(t, "3/0C/00", s.sense(err))
	require.Equal(t, writeError, r.SenseBytes)
	require.NoError(t, s.sister.SynchronizeCache(s.ctx, 0, 0))
	s.othersUnharmed()
	s.removeFault(f)
	require.NoError(t, s.v1.SynchronizeCache(s.ctx, 0, 0))
}

// TestEngineLies shows a disk whose data rot and one that is late: hosts see the same on every
// path, and other volumes nothing of it.
func TestEngineLies(t *testing.T) {
	s := newStage(t)
	f := s.addFault("engine vvol=victim op=read -> corrupt")
	for _, u := range []*initiator.Unit{s.v1, s.v2, s.vh} {
		p := make([]byte, stageBytes)
		_, err := u.ReadAt(s.ctx, p, 0)
		require.NoError(t, err)
		require.Equal(t, []int{1, 1, 1, 1, 1, 1, 1, 1}, flipped(p, s.content))
	}
	s.holds(s.sister, 0, s.sisterContent)
	s.removeFault(f)
	s.healed()
	s.othersUnharmed()

	f = s.addFault("engine vvol=victim op=read -> delay 1h")
	late := s.send(read8, nil, stageBytes)
	s.awaitHits(f, 1)
	s.silent(late)
	s.holds(s.sister, 0, s.sisterContent)
	s.alive(s.v1, s.v2, s.vh)
	s.removeFault(f)
	s.good(late)
	require.Equal(t, s.content, late.call.Result.DataIn)
	s.healed()
	s.othersUnharmed()
}

// TestLoginRefused shows a login that a rule refuses, of one host and once.
func TestLoginRefused(t *testing.T) {
	l := newLab(t, ":memory:", nil)
	dial := func(host string) error {
		r := l.a.Ready()
		s, err := initiator.Dial(l.ctx, initiator.Options{Address: r.ISCSI[0], TargetName: r.IQN, InitiatorName: iqn(host)})
		if err != nil {
			return err
		}
		return s.Logout(l.ctx)
	}
	for _, status := range []string{"0x0201", "0x0203", "0x0204", "0x0301"} {
		f := l.addFault("login host=" + iqn("esx1") + " count=1 -> reject " + status)
		var refused *initiator.LoginError
		require.ErrorAs(t, dial("esx1"), &refused)
		require.Equal(t, status[2:], pduStatus(refused.Status))
		require.NoError(t, dial("esx2"))
		require.NoError(t, dial("esx1"), "its count is used up")
		l.removeFault(f)
	}
}

func pduStatus(s pdu.LoginStatus) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[s>>12&15], digits[s>>8&15], digits[s>>4&15], digits[s&15]})
}

// TestHangingProvider shows that a provider which hangs while the process lives is seen,
// and that data go on.
func TestHangingProvider(t *testing.T) {
	s := newStage(t)
	f := s.addFault("vasa -> hang")
	require.Equal(t, http.StatusServiceUnavailable, s.status("/healthz"))
	s.othersUnharmed()
	s.healed()
	s.removeFault(f)
	require.Equal(t, http.StatusOK, s.status("/healthz"))
	require.Contains(t, s.refused("vasa op=bindVirtualVolume -> fault NotThere"), `no operation of VASA declares the fault "NotThere"; bindVirtualVolume declares InactiveProvider, `)
	require.Contains(t, s.refused("vasa op=bind -> hang"), `"bind" is no operation of VASA`)
	require.Contains(t, s.refused("vasa container=default -> down"), "it is about connections, and has no op=, vvol=, container= or host=")
	require.Contains(t, s.refused("lu -> explode"), "column 7")
	require.Contains(t, s.refused("path vvol=victim -> down"), "column 6")
	require.Contains(t, s.refused("lu keep -> pdl"), "needs a data directory")
	require.Empty(t, call[[]api.Fault](s.lab, "GET", "/api/v1/faults", nil, 0))
}

// TestDocumentedRules: an array takes each rule of docs/faults.md's examples as it stands there,
// and a client that is promised an undeclared fault gets it.
func TestDocumentedRules(t *testing.T) {
	l := newLab(t, t.TempDir(), nil)
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "faults.md"))
	require.NoError(t, err)
	_, examples, ok := strings.Cut(string(page), "## Examples\n\n```\n")
	require.True(t, ok)
	examples, _, ok = strings.Cut(examples, "```")
	require.True(t, ok)
	n := 0
	for rule := range strings.Lines(examples) {
		rule = strings.TrimSpace(rule)
		require.Equal(t, rule, call[api.Fault](l, "POST", "/api/v1/faults", map[string]any{"rule": rule}, http.StatusCreated).Rule)
		n++
	}
	require.Greater(t, n, 30)
	call[any](l, "DELETE", "/api/v1/faults", nil, http.StatusNoContent)
	vcenter := newSite(l)
	l.addFault("vasa op=bindVirtualVolume -> fault ResourceInUse")
	name, _ := vcenter.faultOf("bindVirtualVolume")
	require.Equal(t, "ResourceInUse", name)
}

// refused is why the API does not take a rule.
func (l *lab) refused(rule string) string {
	l.t.Helper()
	p := call[struct{ Detail string }](l, "POST", "/api/v1/faults", map[string]any{"rule": rule}, http.StatusBadRequest)
	return p.Detail
}

// TestFaultsAcrossRestart shows that rules with keep come back, those of the
// configuration are there from the start, and that what they hold ends with the array.
func TestFaultsAcrossRestart(t *testing.T) {
	l := newLab(t, t.TempDir(), func(c *array.Config) { c.Faults = []string{"lu vvol=sister -> busy"} })
	v, w := l.create("victim", 1<<20), l.create("sister", 1<<20)
	bv, bw := l.bind(v, "esx1"), l.bind(w, "esx1")
	l.addFault("lu vvol=victim -> task-set-full")
	kept := l.addFault("lu vvol=victim op=0x00 keep -> apd")
	call[any](l, "DELETE", "/api/v1/faults/2", nil, http.StatusNoContent)
	check := func(hit func(u *initiator.Unit) error) {
		s := l.login("esx1", 0)
		lun, err := scsi.ParseLUN(bw.LUN)
		require.NoError(t, err)
		var status *initiator.StatusError
		require.ErrorAs(t, s.Unit(lun).TestUnitReady(l.ctx), &status)
		require.Equal(t, scsi.StatusBusy, status.Status)
		lun, err = scsi.ParseLUN(bv.LUN)
		require.NoError(t, err)
		require.NoError(t, hit(s.Unit(lun)))
	}
	held := make(chan error, 1)
	check(func(u *initiator.Unit) error {
		go func() { held <- u.TestUnitReady(context.WithoutCancel(l.ctx)) }()
		l.awaitHits(kept, 1)
		return nil
	})
	l.restart()
	require.Error(t, <-held, "it was not answered")
	list := call[[]api.Fault](l, "GET", "/api/v1/faults", nil, 0)
	require.Len(t, list, 2)
	require.Equal(t, api.Fault{ID: kept.ID, Rule: kept.Rule, Active: true, Phase: "active"}, list[0])
	check(func(u *initiator.Unit) error {
		ctx, cancel := context.WithCancel(l.ctx)
		go func() { held <- u.TestUnitReady(ctx) }()
		l.awaitHits(kept, 1)
		cancel()
		if err := <-held; !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	})
}

// TestFaultNames shows that rules which name what the configuration does not have are refused,
// whichever way they come, and that those stay which were kept while it had.
func TestFaultNames(t *testing.T) {
	l := newLab(t, t.TempDir(), nil)
	require.Contains(t, l.refused("path portal=3 -> down"), "portal=3: the array's portals are 1 to 2")
	require.Contains(t, l.refused("lu pe=pe9 -> pdl"), "pe=pe9: the array has the protocol endpoints pe0 (naa.")
	id := call[[]api.PE](l, "GET", "/api/v1/pes", nil, 0)[0].ID
	l.removeFault(l.addFault("lu pe=" + id + " vvol=later container=later host=" + iqn("later") + " -> pdl"))
	kept := l.addFault("path portal=2 keep -> down")
	require.NoError(t, l.a.Close(context.Background()))
	l.c.ISCSI.Portals = l.c.ISCSI.Portals[:1]
	log, seen := observer.New(zap.WarnLevel)
	a, err := array.Open(l.ctx, l.c, "test", zap.New(log))
	require.NoError(t, err)
	require.NoError(t, a.Start(l.ctx))
	l.a = a
	require.Equal(t, []api.Fault{kept}, call[[]api.Fault](l, "GET", "/api/v1/faults", nil, 0))
	require.Len(t, seen.FilterMessageSnippet("kept").All(), 1)
	require.NoError(t, l.login("esx1", 0).NOP(l.ctx, nil))

	c := l.c
	c.Data, c.Faults = ":memory:", []string{"lu vvol=later -> pdl", "lu portal=2 -> pdl"}
	_, err = array.Open(l.ctx, c, "test", zap.NewNop())
	require.ErrorIs(t, err, array.ErrConfig)
	require.ErrorContains(t, err, "faults[1]: invalid argument: fault rule: portal=2: the array's portals are 1 to 1")
}
