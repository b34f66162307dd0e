package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/api"
	"vvsim/array"
	"vvsim/scsi"
	"vvsim/scsi/iscsi/initiator"
	"vvsim/scsi/iscsi/pdu"
)

// roads is what every story of paths plays on: a volume that two hosts have bound, which
// esx1 reaches at portals 1 and 2 and esx2 at portal 1.
type roads struct {
	*lab
	lun     scsi.LUN
	path1   *raw            // esx1 at portal 1
	path2   *initiator.Unit // esx1 at portal 2
	host2   *initiator.Unit // esx2 at portal 1
	content []byte
}

func newRoads(t testing.TB, data string) *roads {
	s := &roads{lab: newLab(t, data, func(c *array.Config) { c.ISCSI.Portals = append(c.ISCSI.Portals, "127.0.0.1:0") })}
	v := s.create("disk", 8<<20)
	b1, b2 := s.bind(v, "esx1"), s.bind(v, "esx2")
	lun, err := scsi.ParseLUN(b1.LUN)
	require.NoError(t, err)
	s.lun = lun
	s.path1 = s.rawSession("esx1", 0)
	s.path1.ready(lun)
	s.path2 = s.unit(s.login("esx1", 1), b1.LUN)
	s.host2 = s.unit(s.login("esx2", 0), b2.LUN)
	s.put(random(1, stageBytes))
	return s
}

// put writes by the second path.
func (s *roads) put(b []byte) {
	s.t.Helper()
	s.write(s.path2, 0, b)
	s.content = b
}

// works shows that an initiator reaches the volume.
func (s *roads) works(units ...*initiator.Unit) {
	s.t.Helper()
	for _, u := range units {
		require.NoError(s.t, u.TestUnitReady(s.ctx))
		s.holds(u, 0, s.content)
	}
}

// worksRaw is the same of a raw initiator.
func (s *roads) worksRaw(r *raw) {
	s.t.Helper()
	r.good(r.command(s.lun, tur, nil, 0))
	require.Equal(s.t, s.content, r.good(r.command(s.lun, read8, nil, stageBytes)))
	r.pong(r.nop())
}

// again is a new session of esx1 at portal 1 that reaches the volume.
func (s *roads) again() *raw {
	s.t.Helper()
	r := s.rawSession("esx1", 0)
	r.ready(s.lun)
	s.worksRaw(r)
	return r
}

// sessions lists those of a host at a portal group.
func (s *roads) sessions(host string, group uint16) (all []api.Session) {
	s.t.Helper()
	for _, x := range call[[]api.Session](s.lab, "GET", "/api/v1/sessions", nil, 0) {
		if x.Initiator == iqn(host) && x.PortalGroup == group {
			all = append(all, x)
		}
	}
	return all
}

// TestPathDown shows a portal that is down: what is there is cut, what comes is refused, and
// the other portal knows nothing of it.
func TestPathDown(t *testing.T) {
	s := newRoads(t, ":memory:")
	address := s.a.Ready().ISCSI[0]
	for range 2 { // down and up, and down again
		f := s.addFault("path portal=1 -> down")
		s.path1.reset()
		require.Error(t, s.host2.TestUnitReady(s.ctx))
		for range 3 {
			_, err := net.Dial("tcp", address)
			require.True(t, errors.Is(err, syscall.ECONNREFUSED), "%v", err)
		}
		require.Equal(t, uint64(2), s.hits(f))
		require.Eventually(t, func() bool { return len(s.sessions("esx1", 1)) == 0 }, rawPatience, time.Millisecond)
		s.works(s.path2)
		s.removeFault(f)
		s.path1 = s.again()
		s.host2 = s.unit(s.login("esx2", 0), s.host2.LUN().String())
		s.works(s.path2, s.host2)
	}
	f := s.addFault("path -> down")
	other, err := net.Listen("tcp", address)
	require.NoError(t, err, "somebody takes the port")
	s.removeFault(f)
	s.unit(s.login("esx1", 1), s.path2.LUN().String())
	require.NoError(t, other.Close())
	require.Eventually(t, func() bool {
		nc, err := net.Dial("tcp", address)
		if err == nil {
			err = nc.Close()
		}
		return err == nil
	}, rawPatience, time.Millisecond, "it comes up when the port is free")
	s.again()
}

// TestPathDownOfHost shows a path that is down for one host: its session is cut, and each
// login of it as soon as it has said its name; nobody else is concerned.
func TestPathDownOfHost(t *testing.T) {
	s := newRoads(t, ":memory:")
	f := s.addFault("path portal=1 host=" + iqn("esx1") + " -> down")
	s.path1.reset()
	require.Equal(t, uint64(1), s.hits(f))
	for k := range 2 {
		r := s.dialRaw(0)
		r.sendLogin("esx1")
		r.reset()
		require.Equal(t, uint64(2+k), s.hits(f))
	}
	s.works(s.path2, s.host2)
	s.removeFault(f)
	s.again()
	s.works(s.path2, s.host2)
}

// TestPathReset shows that each connection is reset once, as often as count says.
func TestPathReset(t *testing.T) {
	s := newRoads(t, ":memory:")
	f := s.addFault("path host=" + iqn("esx1") + " portal=1 count=2 -> reset")
	s.path1.reset()
	r := s.dialRaw(0)
	r.sendLogin("esx1")
	r.reset()
	require.False(t, call[api.Fault](s.lab, "GET", "/api/v1/faults/"+f.ID, nil, 0).Active)
	s.path1 = s.again()
	s.works(s.path2, s.host2)
	s.removeFault(f)

	f = s.addFault("path portal=3 -> reset")
	if nc, err := net.Dial("tcp", s.a.Ready().ISCSI[2]); err == nil {
		(&raw{t: t, nc: nc}).reset()
		require.NoError(t, nc.Close())
	} else {
		require.ErrorIs(t, err, syscall.ECONNRESET, "it was reset at once")
	}
	require.Equal(t, uint64(1), s.hits(f))
	s.removeFault(f)

	f = s.addFault("path portal=3 -> reset 100ms..200ms")
	began := time.Now()
	r = s.rawSession("esx1", 2)
	r.ready(s.lun)
	r.reset()
	require.GreaterOrEqual(t, time.Since(began), 100*time.Millisecond)
	s.removeFault(f)
	f = s.addFault("path portal=3 -> reset 1h")
	r = s.rawSession("esx1", 2)
	r.ready(s.lun)
	s.removeFault(f)
	s.worksRaw(r)
	s.worksRaw(s.path1)
}

// TestPathStall shows a path on which nothing moves: commands, pings and logins are silent
// with the connection open. When the rule goes all goes on where it stood, but for what
// hosts have dropped meanwhile.
func TestPathStall(t *testing.T) {
	s := newRoads(t, ":memory:")
	mayfly := s.rawSession("esx3", 0)
	f := s.addFault("path portal=1 -> stall")
	require.Equal(t, uint64(3), s.hits(f))
	next, never := random(7, stageBytes), random(8, stageBytes)
	ping, ready := s.path1.nop(), s.path1.command(s.lun, tur, nil, 0)
	write := s.path1.command(s.lun, write8, next, 0)
	read := s.path1.command(s.lun, read8, nil, stageBytes)
	late := s.dialRaw(0)
	late.sendLogin("esx4")
	gone := s.dialRaw(0)
	gone.sendLogin("esx5")
	mayfly.command(s.lun, write8, never, 0)
	for _, r := range []*raw{s.path1, late, gone, mayfly} {
		r.silent()
	}
	s.works(s.path2)
	require.Len(t, s.sessions("esx1", 1), 1)
	require.Empty(t, s.sessions("esx4", 1))
	require.NoError(t, mayfly.nc.Close())
	require.NoError(t, gone.nc.Close())
	require.Eventually(t, func() bool { return len(s.sessions("esx3", 1)) == 0 }, rawPatience, time.Millisecond)

	s.removeFault(f)
	s.path1.pong(ping)
	s.path1.good(ready)
	s.path1.good(write)
	s.content = next
	require.Len(t, s.path1.good(read), stageBytes)
	p, _ := late.loginResponse()
	require.Equal(t, pdu.LoginSuccess, p.Status)
	s.works(s.path2, s.host2)
	s.worksRaw(s.path1)
	require.Empty(t, s.sessions("esx5", 1))
}

// TestPathStallOneWay shows a path that is cut in one direction. Without what the initiator
// says nothing is done, but the target is heard; without what the target says all is done.
func TestPathStallOneWay(t *testing.T) {
	s := newRoads(t, ":memory:")
	mine := "host=" + iqn("esx1") + " portal=1"
	slow := s.addFault("lu " + mine + " op=read -> hang")
	read := s.path1.command(s.lun, read8, nil, stageBytes)
	s.awaitHits(slow, 1)
	f := s.addFault("path " + mine + " -> stall in")
	next := random(7, stageBytes)
	write := s.path1.command(s.lun, write8, next, 0)
	s.removeFault(slow)
	require.Equal(t, s.content, s.path1.good(read), "the target is heard")
	s.path1.silent()
	s.works(s.path2, s.host2)
	s.removeFault(f)
	s.path1.good(write)
	s.content = next

	f = s.addFault("path " + mine + " -> stall out")
	next = random(8, stageBytes)
	write = s.path1.command(s.lun, write8, next, 0)
	ping := s.path1.nop()
	s.content = next
	require.Eventually(t, func() bool {
		b := make([]byte, stageBytes)
		_, err := s.path2.ReadAt(s.ctx, b, 0)
		return err == nil && string(b) == string(next)
	}, rawPatience, time.Millisecond, "it was executed")
	s.path1.silent()
	s.works(s.path2, s.host2)
	s.removeFault(f)
	s.path1.good(write)
	s.path1.pong(ping)
	s.worksRaw(s.path1)
}

// TestPathSlow shows a path that is late, and one that carries few bytes: no faster than the
// rule says, with nothing lost, and as ever when it goes.
func TestPathSlow(t *testing.T) {
	s := newRoads(t, ":memory:")
	mine := "path host=" + iqn("esx1") + " portal=1 "
	f := s.addFault(mine + "-> delay 1h")
	ping := s.path1.nop()
	s.path1.silent()
	s.works(s.path2, s.host2)
	s.removeFault(f)
	s.path1.pong(ping)
	s.worksRaw(s.path1)

	f = s.addFault(mine + "-> delay 20ms..30ms")
	began := time.Now()
	s.path1.pong(s.path1.nop())
	require.GreaterOrEqual(t, time.Since(began), 40*time.Millisecond, "in both directions")
	tags := make([]uint32, 8)
	for k := range tags {
		tags[k] = s.path1.command(s.lun, read8, nil, stageBytes)
	}
	for _, tag := range tags {
		require.Equal(t, s.content, s.path1.good(tag))
	}
	s.works(s.path2, s.host2)
	s.removeFault(f)

	const big = 128 << 10
	f = s.addFault(mine + "-> rate 1KiB/s")
	require.Equal(t, uint64(1), s.hits(f))
	ping = s.path1.nop()
	s.works(s.path2, s.host2)
	s.removeFault(f)
	began = time.Now()
	s.path1.pong(ping)
	s.path1.good(s.path1.command(s.lun, rw(scsi.OpRead16, 0, big/512), nil, big))
	require.Less(t, time.Since(began), rawPatience, "two minutes at 1 KiB/s")
	s.worksRaw(s.path1)

	f = s.addFault(mine + "-> rate 1MiB/s")
	next := random(9, stageBytes)
	began = time.Now()
	for range 16 {
		s.path1.good(s.path1.command(s.lun, write8, next, 0))
	}
	require.GreaterOrEqual(t, time.Since(began), 16*stageBytes*time.Second/(1<<20)-10*time.Millisecond)
	s.content = next
	began = time.Now()
	s.path1.good(s.path1.command(s.lun, rw(scsi.OpRead16, 0, big/512), nil, big))
	require.GreaterOrEqual(t, time.Since(began), big*time.Second/(1<<20)-10*time.Millisecond)
	s.works(s.path2, s.host2)
	s.removeFault(f)
	s.worksRaw(s.path1)
}

// TestPathOrder shows that the first rule has a connection until it goes, and the next then.
func TestPathOrder(t *testing.T) {
	s := newRoads(t, ":memory:")
	first := s.addFault("path portal=1 host=" + iqn("esx1") + " -> delay 1ms")
	second := s.addFault("path portal=1 -> stall")
	require.Equal(t, []uint64{1, 1}, []uint64{s.hits(first), s.hits(second)})
	s.worksRaw(s.path1)
	third := s.addFault("path portal=1 -> down")
	require.Zero(t, s.hits(third))
	nc, err := net.Dial("tcp", s.a.Ready().ISCSI[0])
	require.NoError(t, err, "a rule before it may let others in")
	require.NoError(t, nc.Close())
	s.removeFault(first)
	ping := s.path1.nop()
	s.path1.silent()
	require.GreaterOrEqual(t, s.hits(second), uint64(2))
	s.removeFault(third)
	s.removeFault(second)
	s.path1.pong(ping)
	s.works(s.host2, s.path2)
}

// TestSession shows rules that name a session: one of two that a host has at one portal.
func TestSession(t *testing.T) {
	s := newRoads(t, ":memory:")
	other := s.unit(s.login("esx1", 0), s.path2.LUN().String())
	all := s.sessions("esx1", 1)
	require.Len(t, all, 2)
	id := all[0].ID
	if all[0].ConnectedSince.After(all[1].ConnectedSince) {
		id = all[1].ID
	}
	f := s.addFault("lu session=" + id + " -> busy")
	p, _ := s.path1.response(s.path1.command(s.lun, tur, nil, 0))
	require.Equal(t, scsi.StatusBusy, p.Status)
	s.works(other, s.path2, s.host2)
	s.removeFault(f)
	s.worksRaw(s.path1)
	f = s.addFault("path session=" + id + " -> reset")
	s.path1.reset()
	s.works(other, s.path2, s.host2)
	call[any](s.lab, "GET", "/api/v1/faults/"+f.ID, nil, 0)
	s.again()
}

// TestPathAtStop shows that an array stops while paths are stalled and late, and that what
// stood still was not done.
func TestPathAtStop(t *testing.T) {
	s := newRoads(t, t.TempDir())
	s.addFault("path portal=1 keep -> stall")
	s.addFault("path portal=3 -> down")
	s.addFault("path portal=2 -> delay 1h")
	s.path1.command(s.lun, write8, random(7, stageBytes), 0)
	silent := s.dialRaw(0)
	silent.sendLogin("esx4")
	s.path1.silent()
	s.restart()
	r := s.dialRaw(0)
	r.sendLogin("esx1")
	r.silent()
	require.Len(t, call[[]api.Fault](s.lab, "GET", "/api/v1/faults", nil, 0), 1)
	s.path2 = s.unit(s.login("esx1", 1), s.path2.LUN().String())
	s.works(s.path2)
	call[any](s.lab, "DELETE", "/api/v1/faults", nil, http.StatusNoContent)
	p, _ := r.loginResponse()
	require.Equal(t, pdu.LoginSuccess, p.Status)
	require.NoError(t, s.a.Close(context.Background()))
}

// loginAnswer is what a login of a host at a portal, from 0, is answered.
func (s *roads) loginAnswer(host string, portal int, keys ...string) (pdu.LoginResponse, pdu.Keys) {
	s.t.Helper()
	r := s.dialRaw(portal)
	r.sendLogin(host, keys...)
	p, answers := r.loginResponse()
	if p.Status != pdu.LoginSuccess {
		_, _, _, err := r.next()
		require.ErrorIs(s.t, err, io.EOF, "the connection ends")
	}
	require.NoError(s.t, r.nc.Close())
	return p, answers
}

// TestLoginStatuses shows every status of RFC 7143 11.13.5 that refuses, for one host at one
// portal, in normal and in discovery sessions.
func TestLoginStatuses(t *testing.T) {
	s := newRoads(t, ":memory:")
	var all []uint16
	for n := uint16(0x0200); n <= 0x020b; n++ {
		all = append(all, n)
	}
	for _, n := range append(all, 0x0300, 0x0301, 0x0302) {
		f := s.addFault(fmt.Sprintf("login portal=1 host=%s -> reject %#04x", iqn("esx1"), n))
		for _, kind := range []string{"Normal", "Discovery"} {
			r := s.dialRaw(0)
			r.sendLogin("esx1", "SessionType", kind)
			h, data := r.receive()
			require.Equal(t, append([]byte{0x23, 0x04}, make([]byte, 6)...), []byte(h[:8]), "Login Response, stage 1, no data")
			require.Equal(t, []byte{byte(n >> 8), byte(n), 0, 0}, []byte(h[36:40]))
			require.Empty(t, data)
			_, _, _, err := r.next()
			require.ErrorIs(t, err, io.EOF)
			for host, portal := range map[string]int{"esx2": 0, "esx1": 1} {
				p, _ := s.loginAnswer(host, portal)
				require.Equal(t, pdu.LoginSuccess, p.Status)
			}
		}
		require.Equal(t, uint64(2), s.hits(f))
		s.removeFault(f)
		p, _ := s.loginAnswer("esx1", 0)
		require.Equal(t, pdu.LoginSuccess, p.Status)
	}
	s.host2 = s.unit(s.login("esx2", 0), s.host2.LUN().String())
	s.path2 = s.unit(s.login("esx1", 1), s.path2.LUN().String())
	s.again()
	s.works(s.path2, s.host2)
}

// TestLoginRedirected shows where a login is sent, and that nobody else is.
func TestLoginRedirected(t *testing.T) {
	s := newRoads(t, ":memory:")
	to := s.a.Ready().ISCSI[2]
	for action, want := range map[string]struct {
		status  pdu.LoginStatus
		address string
	}{
		to: {0x0101, to}, to + ",3 permanent": {0x0102, to + ",3"}, "[fd00::2]:3260": {0x0101, "[fd00::2]:3260"}, "array.lab:3260,2": {0x0101, "array.lab:3260,2"},
	} {
		f := s.addFault("login portal=1 host=" + iqn("esx1") + " -> redirect " + action)
		p, answers := s.loginAnswer("esx1", 0)
		require.Equal(t, want.status, p.Status)
		require.Equal(t, pdu.Keys{{Key: "TargetAddress", Value: want.address}}, answers)
		s.worksRaw(s.path1) // a session that is there stays
		s.works(s.path2, s.host2)
		p, _ = s.loginAnswer("esx1", 2)
		require.Equal(t, pdu.LoginSuccess, p.Status, "where it was sent to")
		s.removeFault(f)
	}
	s.path1 = s.again()
}

// TestLoginSilent shows a login that is not answered until the rule goes, or late; who gives
// up leaves nothing behind.
func TestLoginSilent(t *testing.T) {
	s := newRoads(t, ":memory:")
	f := s.addFault("login portal=1 host=" + iqn("esx1") + " -> hang")
	kept, gone := s.dialRaw(0), s.dialRaw(0)
	kept.sendLogin("esx1")
	gone.sendLogin("esx1")
	s.awaitHits(f, 2)
	kept.silent()
	gone.silent()
	s.worksRaw(s.path1)
	require.NoError(t, gone.nc.Close())
	p, _ := s.loginAnswer("esx3", 0)
	require.Equal(t, pdu.LoginSuccess, p.Status)
	s.works(s.path2, s.host2)
	require.Len(t, s.sessions("esx1", 1), 1)
	s.removeFault(f)
	p, _ = kept.loginResponse()
	require.Equal(t, pdu.LoginSuccess, p.Status)
	s.path1 = kept
	s.path1.ready(s.lun)
	s.worksRaw(s.path1)
	require.Len(t, s.sessions("esx1", 1), 1, "reinstated")

	f = s.addFault("login host=" + iqn("esx1") + " -> delay 50ms..60ms")
	began := time.Now()
	s.again()
	require.GreaterOrEqual(t, time.Since(began), 50*time.Millisecond)
	s.removeFault(f)
	f = s.addFault("login host=" + iqn("esx1") + " portal=1 -> delay 1h")
	kept = s.dialRaw(0)
	kept.sendLogin("esx1")
	s.awaitHits(f, 1)
	kept.silent()
	s.removeFault(f)
	p, _ = kept.loginResponse()
	require.Equal(t, pdu.LoginSuccess, p.Status)
	s.addFault("login host=" + iqn("esx1") + " -> hang") // the array stops with it
	kept = s.dialRaw(0)
	kept.sendLogin("esx1")
	kept.silent()
}

// anyPath generates rules of paths and logins with conditions of all kinds.
func anyPath(r *rand.Rand) string {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	counters := pick("", " after=1", " count=2", " every=2") + pick("", " p=0.5 seed=3") + pick("", " for=10ms", " for=10ms each=20ms", " from=5ms") + " -> "
	where := pick("", " portal=1", " portal=3") + pick("", " host="+iqn("esx1"), " host="+iqn("esx3"))
	if r.IntN(3) == 0 {
		return "login" + where + counters + pick("reject 0x0203", "reject 0x0301", "redirect 127.0.0.1:1", "hang", "delay 1ms..5ms")
	}
	return "path" + where + pick("", " session=3") + counters + pick("down", "reset", "reset 1ms..5ms", "stall", "stall in", "stall out", "delay 1ms..5ms", "delay 1h",
		"rate 64KiB/s", "logout 1s", "drop-connection", "drop-session")
}

// TestAnyPaths throws logins and commands at rules of any kind, hangs up on some, and shows
// that nothing is left once the rules are gone. VVSIM_FAULT_SEED repeats a run.
func TestAnyPaths(t *testing.T) {
	seed := rand.Uint64()
	if x := os.Getenv("VVSIM_FAULT_SEED"); x != "" {
		_, err := fmt.Sscan(x, &seed)
		require.NoError(t, err)
	}
	s := newRoads(t, ":memory:")
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 20 {
		var all []net.Conn
		meet := func() {
			for range 1 + r.IntN(4) {
				nc, err := net.Dial("tcp", s.a.Ready().ISCSI[2*r.IntN(2)])
				if err != nil {
					continue // refused, or reset at once
				}
				all = append(all, nc)
				x := &raw{nc: nc, target: s.a.Ready().IQN, cmdSN: 1, qualifier: 9}
				b := x.login([]string{"esx1", "esx3"}[r.IntN(2)])
				for tag := range uint32(r.IntN(20)) {
					p := pdu.SCSICommand{Final: true, Attribute: scsi.Simple, LUN: s.lun, TaskTag: tag, CmdSN: 1 + tag, Read: true, ExpectedDataLength: stageBytes}
					copy(p.CDB[:], read8)
					b = p.AppendTo(b)
				}
				_, _ = nc.Write(b) // it may be gone
			}
		}
		meet()
		for range 1 + r.IntN(4) {
			call[api.Fault](s.lab, "POST", "/api/v1/faults", map[string]any{"rule": anyPath(r)}, http.StatusCreated)
		}
		meet()
		for _, nc := range all[:len(all)/2] {
			require.NoError(t, nc.Close())
		}
		call[any](s.lab, "DELETE", "/api/v1/faults", nil, http.StatusNoContent)
		for _, nc := range all[len(all)/2:] {
			require.NoError(t, nc.Close())
		}
		require.Eventually(t, func() bool { return len(s.sessions("esx3", 1))+len(s.sessions("esx3", 3)) == 0 }, rawPatience, time.Millisecond)
		s.path1 = s.again()
		s.path2 = s.unit(s.login("esx1", 1), s.path2.LUN().String())
		s.host2 = s.unit(s.login("esx2", 0), s.host2.LUN().String())
		s.works(s.path2, s.host2)
		third := s.rawSession("esx1", 2)
		third.ready(s.lun)
		s.worksRaw(third)
		require.NoError(t, third.nc.Close())
	}
}
