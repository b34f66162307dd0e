package iscsi

import (
	"context"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/line"
	"vvsim/scsi/iscsi/pdu"
)

// road keeps what Paths is told, and does what a test wants at each turn.
type road struct {
	mu    sync.Mutex
	said  []string
	conns []Conn
	at    map[string]func(Conn) error
}

func (r *road) tell(what string, c Conn) error {
	r.mu.Lock()
	r.said = append(r.said, what)
	if what == "connected" {
		r.conns = append(r.conns, c)
	}
	f := r.at[what]
	r.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(c)
}

func (r *road) Connected(c Conn)    { _ = r.tell("connected", c) }
func (r *road) Established(c Conn)  { _ = r.tell("established", c) }
func (r *road) Disconnected(c Conn) { _ = r.tell("disconnected", c) }
func (r *road) Identified(c Conn, initiator string) error {
	return r.tell("identified "+initiator, c)
}

// heard returns what was said once something has been.
func (r *road) heard(t *testing.T, last string) []string {
	t.Helper()
	require.Eventually(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.said) > 0 && r.said[len(r.said)-1] == last
	}, testPatience, time.Millisecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.said
}

func (r *road) first() Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conns[0]
}

const identified = "identified " + testInitiator

// still is a way on which nothing moves, and slow one that is late and cuts bytes small.
type still struct{}

func (still) Due(int) time.Time { return time.Time{} }
func (still) Piece() int        { return 0 }
func (still) Clock() line.Clock { return line.Wall{} }

type slow struct{}

func (slow) Due(n int) time.Time { return time.Now().Add(time.Duration(n) * 100 * time.Nanosecond) }
func (slow) Piece() int          { return 1000 }
func (slow) Clock() line.Clock   { return line.Wall{} }

var _, _ line.Way = still{}, slow{}

// Paths is told of each connection in order, of a discovery session too, and of none that it
// has refused to establish.
func TestPathsAreTold(t *testing.T) {
	r := &road{at: map[string]func(Conn) error{}}
	f := serve(t, func(o *Options) { o.Paths = r })
	c := f.session(t)
	require.NoError(t, c.nc.Close())
	require.Equal(t, []string{"connected", identified, "established", "disconnected"}, r.heard(t, "disconnected"))
	require.Equal(t, uint16(1), r.first().Portal())
	require.NotZero(t, r.first().Session())

	// A session has its place until the end was told, so that whoever takes it comes later.
	held := make(chan int, 1)
	r.mu.Lock()
	r.at["disconnected"] = func(Conn) error { held <- len(f.server.Sessions()); return nil }
	r.mu.Unlock()
	require.NoError(t, f.session(t).nc.Close())
	require.Equal(t, 1, <-held)

	r.mu.Lock()
	delete(r.at, "disconnected")
	r.said, r.at[identified] = nil, func(Conn) error {
		return &Refusal{Status: pdu.LoginMovedTemporarily, Reason: "moved", TargetAddress: "[::1]:3260,7"}
	}
	r.mu.Unlock()
	for kind, want := range map[string]pdu.LoginStatus{"Normal": pdu.LoginMovedTemporarily, "Discovery": pdu.LoginMovedTemporarily} {
		c = f.dial(t)
		p, answers := c.loginRequest(pdu.OperationalNegotiation, pdu.FullFeaturePhase, true,
			keysOf("InitiatorName", testInitiator, "TargetName", "iqn.2026-01.test:other", "SessionType", kind))
		require.Equal(t, want, p.Status, "before the target's name is looked at")
		require.False(t, p.Transit)
		require.Equal(t, keysOf("TargetAddress", "[::1]:3260,7"), answers)
		c.closed()
		r.heard(t, "disconnected")
	}
	require.Equal(t, []string{"connected", identified, "disconnected", "connected", identified, "disconnected"}, r.heard(t, "disconnected"))
}

// A connection that is reset ends with a RST wherever it stands, and establishes nothing.
func TestReset(t *testing.T) {
	for _, at := range []string{"connected", identified, "established"} {
		r := &road{at: map[string]func(Conn) error{at: func(c Conn) error { c.Reset(); return nil }}}
		f := serve(t, func(o *Options) { o.Paths = r })
		nc, err := net.Dial("tcp", f.addr)
		if err != nil {
			require.ErrorIs(t, err, syscall.ECONNRESET, at)
			continue
		}
		defer nc.Close()
		c := &client{t: t, nc: nc, isid: [6]byte{0x80, 1}, cmdSN: 1}
		text := keysOf("InitiatorName", testInitiator, "TargetName", testTarget, "SessionType", "Normal").AppendTo(nil)
		_, err = nc.Write(c.wire((&pdu.LoginRequest{Transit: true, Current: pdu.OperationalNegotiation, Next: pdu.FullFeaturePhase, DataLength: len(text),
			ISID: c.isid, CmdSN: 1}).AppendTo(nil), nil, text))
		if err == nil {
			_, err = io.ReadAll(nc)
		}
		require.ErrorIs(t, err, syscall.ECONNRESET, at)
		r.heard(t, "disconnected")
		require.Empty(t, f.server.Sessions())
		f.disk.mu.Lock()
		require.Equal(t, at == "established", f.disk.nexuses == 1)
		f.disk.mu.Unlock()
	}
}

// On a path that is late and carries small pieces everything arrives, in order, with the
// digests that it has; and while it changes again and again.
func TestSlowPath(t *testing.T) {
	r := &road{at: map[string]func(Conn) error{"connected": func(c Conn) error { c.Disturb(slow{}, slow{}); return nil }}}
	f := serve(t, func(o *Options) { o.Paths = r })
	c := f.session(t, "HeaderDigest", "CRC32C", "DataDigest", "CRC32C")
	stop, ended := make(chan struct{}), make(chan struct{})
	exchange := func(n int) {
		data := make([]byte, n)
		for k := range data {
			data[k] = byte(k * 7)
		}
		p, _ := c.write(8, data, 0)
		require.Equal(t, scsi.StatusGood, p.Status)
		got, status, residual := c.read(8, n/testBlock, n)
		require.Equal(t, scsi.StatusGood, status)
		require.Equal(t, pdu.Residual{}, residual)
		require.Equal(t, data, got)
	}
	exchange(64 << 10)
	go func() {
		defer close(ended)
		for k := 0; ; k++ {
			select {
			case <-stop:
				return
			default:
			}
			switch k % 4 {
			case 0:
				r.first().Disturb(still{}, slow{})
			case 1:
				r.first().Disturb(slow{}, still{})
			case 2:
				r.first().Disturb(nil, slow{})
			case 3:
				r.first().Disturb(nil, nil)
			}
		}
	}()
	for range 20 {
		exchange(48 << 10)
	}
	close(stop)
	<-ended
	r.first().Disturb(nil, nil)
	exchange(64 << 10)
}

// What a session holds on a path that stands still is bounded by its reader's patience and its
// budget of reads, and all of it arrives.
func TestStillPathIsBounded(t *testing.T) {
	r := &road{}
	f := serve(t, func(o *Options) { o.Paths = r })
	c := f.session(t)
	r.first().Disturb(nil, still{})
	const reads, size = 100, 1 << 20
	for range reads {
		p := c.command(rw10(0x28, 0, size/testBlock))
		p.Read, p.ExpectedDataLength = true, size
		c.send(p, nil)
	}
	f.server.mu.Lock()
	var s *connection
	for s = range f.server.connections {
		break
	}
	f.server.mu.Unlock()
	held := func() (n int) {
		s.out.mu.Lock()
		defer s.out.mu.Unlock()
		return s.out.late.Size() + s.out.filling.Length()
	}
	require.Eventually(t, func() bool { return held() >= maxOutbox }, testPatience, time.Millisecond)
	require.Never(t, func() bool { return held() > maxReads+maxReads/8 }, 100*time.Millisecond, 10*time.Millisecond)
	require.True(t, s.out.busy())
	r.first().Disturb(nil, nil)
	got := 0
	for answered := 0; answered < reads; {
		p := c.receive()
		got += len(p.data)
		if p.header.OpCode() == pdu.OpSCSIResponse || p.header[1]&1 != 0 {
			answered++
		}
	}
	require.Equal(t, reads*size, got)
	c.expStatSN += reads
	c.testUnitReady()
}

// A server whose paths stand still ends, whether a login, a command or an answer is held; and
// so does a session that is dropped.
func TestShutdownOfStillPaths(t *testing.T) {
	r := &road{}
	f := serve(t, func(o *Options) { o.Paths, o.LogoutGrace = r, 10*time.Millisecond })
	dropped := f.session(t)
	r.first().Disturb(still{}, still{})
	dropped.send(dropped.command([16]byte{}), nil)
	require.True(t, f.server.Drop(r.first().Session()))
	require.Empty(t, f.server.Sessions())

	answers := f.session(t)
	r.heard(t, "established")
	r.mu.Lock()
	r.conns[1].Disturb(nil, still{})
	r.at = map[string]func(Conn) error{identified: func(c Conn) error { c.Disturb(still{}, still{}); return nil }}
	r.mu.Unlock()
	answers.send(answers.command([16]byte{}), nil)
	login := f.dial(t)
	text := keysOf("InitiatorName", testInitiator, "TargetName", testTarget).AppendTo(nil)
	login.send(&pdu.LoginRequest{Transit: true, Current: pdu.OperationalNegotiation, Next: pdu.FullFeaturePhase, DataLength: len(text), ISID: [6]byte{0x80, 9}}, text)
	r.heard(t, identified)
	require.NoError(t, f.server.Shutdown(context.Background()))
	require.Len(t, f.server.Sessions(), 0)
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Len(t, r.conns, 3)
	require.Equal(t, "disconnected", r.said[len(r.said)-1])
}
