package scenario

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/api"
	"vvsim/scsi"
	"vvsim/scsi/iscsi/initiator"
	"vvsim/scsi/iscsi/pdu"
)

// How much is thrown at an array, in connections per attacker.
const (
	attackers   = 4
	attacks     = 150
	shortAttack = 40
	// attackPatience bounds one connection of an attacker: a target that neither
	// answers nor closes fails no test by itself, as a session may stay.
	attackPatience = 200 * time.Millisecond
)

// TestBadInput throws random bytes and mutated sessions at a portal and at the API
// of an array, while a host verifies its data and notices nothing.
func TestBadInput(t *testing.T) {
	const seed = 20261125
	t.Log("seed", seed)
	l := newLab(t, t.TempDir(), nil)
	good := l.create("good", 8<<20)
	u := l.unit(l.login("esx1", 0), l.bind(good, "esx1").LUN)
	bait := l.bind(l.create("bait", 1<<20), "evil")

	stop := make(chan struct{})
	verified := make(chan error, 1)
	go func() { verified <- verify(l.ctx, u, seed, stop) }()
	n := attacks
	if testing.Short() {
		n = shortAttack
	}
	var wait sync.WaitGroup
	for i := range attackers {
		wait.Go(func() {
			a := &attacker{r: rand.New(rand.NewPCG(seed, uint64(i))), l: l, bait: bait}
			for range n {
				a.portal()
				a.door()
			}
		})
	}
	wait.Wait()
	close(stop)
	require.NoError(t, <-verified)
	require.Equal(t, 200, l.status("/healthz"))
	require.Equal(t, 200, l.status("/readyz"))
	require.NotEmpty(t, call[[]api.Session](l, "GET", "/api/v1/sessions", nil, 0))
	l.login("evil", 1) // who is let in again when it behaves
	// net/http lingers for half a second over a connection whose request it refused;
	// goleak has less patience.
	require.Eventually(t, func() bool {
		stacks := make([]byte, 4<<20)
		return !bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("closeWriteAndWait"))
	}, time.Minute, 10*time.Millisecond)
}

func (l *lab) status(path string) int {
	l.t.Helper()
	resp, err := l.http.Get(l.a.Ready().API + path)
	require.NoError(l.t, err)
	resp.Body.Close()
	return resp.StatusCode
}

// verify writes random blocks and reads them back until stop, at least once.
func verify(ctx context.Context, u *initiator.Unit, seed uint64, stop <-chan struct{}) error {
	r := rand.New(rand.NewPCG(seed, 1<<32))
	for round := uint64(0); ; round++ {
		off := int64(r.IntN(1024)) * 4096
		want, got := random(round, 8192), make([]byte, 8192)
		if _, err := u.WriteAt(ctx, want, off, false); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if _, err := u.ReadAt(ctx, got, off); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if !bytes.Equal(want, got) {
			return fmt.Errorf("round %d: content at %d differs", round, off)
		}
		select {
		case <-stop:
			return nil
		default:
		}
	}
}

// attacker sends what nobody should.
type attacker struct {
	r    *rand.Rand
	l    *lab
	bait api.Binding
}

func (a *attacker) bytes(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(a.r.Uint32())
	}
	return p
}

// portal opens one connection to the iSCSI portal.
func (a *attacker) portal() {
	var b []byte
	switch a.r.IntN(4) {
	case 0:
		b = a.bytes(a.r.IntN(20000))
	case 1:
		b = a.mutate(a.session())
	case 2:
		b = append(a.logIn(), a.garbage()...)
	case 3: // in order, and gone in the middle
		b = a.session()
		b = b[:a.r.IntN(len(b))]
	}
	a.throw(a.l.a.Ready().ISCSI[a.r.IntN(2)], b)
}

// throw sends b in pieces and reads, or does not read, what returns.
func (a *attacker) throw(addr string, b []byte) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return // out of ports: nothing that the array did
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(attackPatience))
	read, listens := make(chan struct{}), a.r.IntN(3) > 0
	go func() {
		defer close(read)
		if listens {
			_, _ = io.Copy(io.Discard, c)
		}
	}()
	for len(b) > 0 {
		n := min(len(b), 1+a.r.IntN(5000))
		if _, err := c.Write(b[:n]); err != nil {
			break
		}
		b = b[n:]
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	<-read
}

// mutate changes, drops or repeats some bytes.
func (a *attacker) mutate(b []byte) []byte {
	for range 1 + a.r.IntN(4) {
		at := a.r.IntN(len(b))
		switch a.r.IntN(4) {
		case 0:
			b[at] = byte(a.r.Uint32())
		case 1:
			b[at] ^= 1 << a.r.IntN(8)
		case 2:
			b = append(b[:at:at], b[min(len(b), at+1+a.r.IntN(60)):]...)
		case 3:
			b = append(b[:at:at], append(a.bytes(a.r.IntN(60)), b[at:]...)...)
		}
		if len(b) == 0 {
			return b
		}
	}
	return b
}

// logIn is a login of one request.
func (a *attacker) logIn() []byte {
	var keys pdu.Keys
	keys.Add("InitiatorName", iqn("evil"))
	keys.Add("TargetName", a.l.a.Ready().IQN)
	keys.Add("InitialR2T", "No")
	keys.Add("MaxBurstLength", "1048576")
	text := keys.AppendTo(nil)
	return segment((&pdu.LoginRequest{Transit: true, Current: pdu.OperationalNegotiation, Next: pdu.FullFeaturePhase, DataLength: len(text),
		ISID: [6]byte{0, 2, 0x3d, 0, 0, byte(a.r.IntN(3))}, CmdSN: 1}).AppendTo(nil), text)
}

func segment(header, data []byte) []byte {
	return append(append(header, data...), make([]byte, pdu.Pad(len(data)))...)
}

// session is a login with some of everything behind it.
func (a *attacker) session() []byte {
	lun, _ := scsi.ParseLUN(a.bait.LUN)
	b := a.logIn()
	sn := uint32(1)
	for range 1 + a.r.IntN(20) {
		c := pdu.SCSICommand{Final: true, Attribute: scsi.Simple, LUN: lun, TaskTag: sn, CmdSN: sn, CDB: [16]byte{0x28, 0, 0, 0, 0, byte(sn), 0, 0, 64}}
		switch a.r.IntN(6) {
		case 0:
			c.CDB = [16]byte(a.bytes(16))
			c.Read, c.ExpectedDataLength = true, 0xfffffff0
		case 1:
			c.Read, c.ExpectedDataLength = true, 64*512
		case 2: // whose Data-Out never comes
			c.CDB[0], c.Write, c.ExpectedDataLength = 0x2a, true, 64*512
		case 3:
			c.CDB[0], c.Write, c.ExpectedDataLength, c.DataLength = 0x2a, true, 64*512, 4096
			b = segment(c.AppendTo(b), a.bytes(4096))
			b = segment((&pdu.DataOut{Final: true, DataLength: 512, TaskTag: sn, TransferTag: a.r.Uint32N(8), DataSN: a.r.Uint32N(3),
				BufferOffset: a.r.Uint32N(1 << 16)}).AppendTo(b), a.bytes(512))
			sn++
			continue
		case 4: // functions that end nothing of others
			b = (&pdu.TaskManagement{Immediate: true, Function: scsi.TaskFunction(1 + a.r.IntN(5)), LUN: lun, TaskTag: 1000 + sn, CmdSN: sn,
				ReferencedTag: a.r.Uint32N(20), RefCmdSN: a.r.Uint32N(20)}).AppendTo(b)
			continue
		case 5:
			b = segment((&pdu.NOPOut{Immediate: true, DataLength: 300, TaskTag: 2000 + sn, TransferTag: pdu.ReservedTag, CmdSN: sn}).AppendTo(b), a.bytes(300))
			continue
		}
		b = c.AppendTo(b)
		sn++
	}
	return b
}

// garbage is PDUs whose lengths are right and whose other fields are random.
// TARGET WARM and COLD RESET, which end the commands of everybody, are left out.
func (a *attacker) garbage() (b []byte) {
	for range 1 + a.r.IntN(30) {
		h := a.bytes(pdu.HeaderLength)
		n := a.r.IntN(600)
		h[4], h[5], h[6], h[7] = byte(a.r.IntN(3)), 0, byte(n>>8), byte(n)
		if pdu.Header(h).OpCode() == pdu.OpTaskManagement {
			h[1] = 0x80 | byte(1+a.r.IntN(5))
		}
		b = segment(append(append(b, h...), a.bytes(int(h[4])*4)...), a.bytes(n))
	}
	return b
}

// door opens one connection to the API.
func (a *attacker) door() {
	addr := strings.TrimPrefix(a.l.a.Ready().API, "http://")
	paths := []string{"/api/v1/vvols", "/api/v1/bindings", "/api/v1/luns", "/api/v1/containers", "/api/v1/knobs", "/metrics", "/openapi.json", "/"}
	body := fmt.Sprintf(`{"container":"nowhere","sizeBytes":%d,"name":"x","metadata":{"k":"v"}}`, a.r.Int64())
	request := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		[]string{http.MethodPost, http.MethodPatch, http.MethodGet, "BREW"}[a.r.IntN(4)], paths[a.r.IntN(len(paths))], len(body), body)
	switch a.r.IntN(4) {
	case 0:
		request = a.bytes(a.r.IntN(5000))
	case 1:
		request = a.mutate(request)
	case 2:
		request = request[:a.r.IntN(len(request))]
	case 3:
		request = append([]byte("GET / HTTP/1.1\r\nX: "), bytes.Repeat([]byte("y"), 2<<20)...)
	}
	a.throw(addr, request)
}
