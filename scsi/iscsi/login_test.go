package iscsi

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi/iscsi/chap"
	"vvsim/scsi/iscsi/negotiate"
	"vvsim/scsi/iscsi/pdu"
)

func usual(more ...string) pdu.Keys {
	return append(keysOf("InitiatorName", testInitiator, "TargetName", testTarget), keysOf(more...)...)
}

func TestLoginStatus(t *testing.T) {
	f := serve(t, func(o *Options) {
		o.Access = accessFunc(func(name string, discovery bool) (Credentials, error) {
			if name == "iqn.2026-01.test:refused" {
				return Credentials{}, fmt.Errorf("with more around it: %w", &Refusal{Status: pdu.LoginServiceUnavailable, Reason: "of its own"})
			}
			if name == "iqn.2026-01.test:stranger" {
				return Credentials{}, ErrNotAuthorized
			}
			if name == "iqn.2026-01.test:secret" {
				return Credentials{CHAP: &CHAP{User: "u", Secret: []byte("0123456789ab")}}, nil
			}
			return Credentials{}, nil
		})
	})
	other := f.session(t)
	for name, r := range map[string]struct {
		want pdu.LoginStatus
		try  func(c *client) pdu.LoginStatus
	}{
		"no initiator name":       {pdu.LoginMissingParameter, op(keysOf("TargetName", testTarget))},
		"empty initiator name":    {pdu.LoginInitiatorError, op(keysOf("InitiatorName", "", "TargetName", testTarget))},
		"initiator name of bytes": {pdu.LoginInitiatorError, op(keysOf("InitiatorName", "iqn.2026-01.test:\xff", "TargetName", testTarget))},
		"no target name":          {pdu.LoginMissingParameter, op(keysOf("InitiatorName", testInitiator))},
		"other target":            {pdu.LoginTargetNotFound, op(keysOf("InitiatorName", testInitiator, "TargetName", "iqn.x"))},
		"session type":            {pdu.LoginSessionTypeRefused, op(usual("SessionType", "Strange"))},
		"stranger":                {pdu.LoginAuthorizationFailed, op(keysOf("InitiatorName", "iqn.2026-01.test:stranger", "TargetName", testTarget))},
		"refused":                 {pdu.LoginServiceUnavailable, op(keysOf("InitiatorName", "iqn.2026-01.test:refused", "TargetName", testTarget))},
		"CHAP passed over":        {pdu.LoginAuthenticationFailed, op(keysOf("InitiatorName", "iqn.2026-01.test:secret", "TargetName", testTarget))},
		"target's own key":        {pdu.LoginInitiatorError, op(usual("TargetAddress", "1.2.3.4"))},
		"key twice":               {pdu.LoginInitiatorError, op(append(usual(), usual()...))},
		"CHAP only":               {pdu.LoginAuthenticationFailed, at(pdu.SecurityNegotiation, usual("AuthMethod", "CHAP"))},
		"None where CHAP is":      {pdu.LoginAuthenticationFailed, at(pdu.SecurityNegotiation, keysOf("InitiatorName", "iqn.2026-01.test:secret", "TargetName", testTarget, "AuthMethod", "None"))},
		"transit, no method":      {pdu.LoginAuthenticationFailed, at(pdu.SecurityNegotiation, keysOf("InitiatorName", "iqn.2026-01.test:secret", "TargetName", testTarget))},
		"unknown TSIH": {pdu.LoginSessionDoesNotExist, func(c *client) pdu.LoginStatus {
			c.tsih = 0x4242
			return op(usual())(c)
		}},
		"second connection": {pdu.LoginTooManyConnections, func(c *client) pdu.LoginStatus {
			text := usual().AppendTo(nil)
			return rawLogin(c, pdu.LoginRequest{Transit: true, Current: pdu.OperationalNegotiation, Next: pdu.FullFeaturePhase, DataLength: len(text),
				TSIH: f.server.Sessions()[0].TSIH, CID: 7}, text...)
		}},
		"discovery joins a session": {pdu.LoginSessionDoesNotExist, func(c *client) pdu.LoginStatus {
			c.tsih = f.server.Sessions()[0].TSIH
			return op(usual("SessionType", "Discovery"))(c)
		}},
		"TSIH of another port": {pdu.LoginSessionDoesNotExist, func(c *client) pdu.LoginStatus {
			c.tsih = f.server.Sessions()[0].TSIH
			c.isid[5] = 99
			return op(usual())(c)
		}},
		"name changed": {pdu.LoginInitiatorError, func(c *client) pdu.LoginStatus {
			return afterFirst(c, usual(), pdu.OperationalNegotiation, keysOf("InitiatorName", "iqn.2026-01.test:other"))
		}},
		"session type changed": {pdu.LoginInitiatorError, func(c *client) pdu.LoginStatus {
			return afterFirst(c, usual("SessionType", "Normal"), pdu.OperationalNegotiation, keysOf("SessionType", "Discovery"))
		}},
		"AuthMethod twice": {pdu.LoginInitiatorError, func(c *client) pdu.LoginStatus {
			return afterFirst(c, usual("AuthMethod", "None"), pdu.SecurityNegotiation, keysOf("AuthMethod", "None"))
		}},
		"key negotiated twice": {pdu.LoginInitiatorError, func(c *client) pdu.LoginStatus {
			return afterFirst(c, usual("MaxBurstLength", "4096"), pdu.OperationalNegotiation, keysOf("MaxBurstLength", "8192"))
		}},
		"operational key before CHAP": {pdu.LoginInitiatorError, at(pdu.SecurityNegotiation, keysOf("InitiatorName", "iqn.2026-01.test:secret",
			"TargetName", testTarget, "AuthMethod", "CHAP", "MaxBurstLength", "4096"))},
		"CHAP in the operational stage": {pdu.LoginInitiatorError, op(usual("CHAP_A", "5"))},
		"alias of the target":           {pdu.LoginInitiatorError, op(usual("TargetAlias", "me"))},
		"no common digest is no reason": {pdu.LoginSuccess, func(c *client) pdu.LoginStatus {
			c.isid[5] = 77
			return op(usual("HeaderDigest", "X-mine"))(c)
		}},
		"stage 2":    {pdu.LoginInitiatorError, at(2, usual())},
		"version":    {pdu.LoginUnsupportedVersion, func(c *client) pdu.LoginStatus { return rawLogin(c, pdu.LoginRequest{VersionMin: 1}) }},
		"no transit": {pdu.LoginInitiatorError, func(c *client) pdu.LoginStatus { return rawLogin(c, pdu.LoginRequest{Transit: true}) }},
		"C and T": {pdu.LoginInitiatorError, func(c *client) pdu.LoginStatus {
			return rawLogin(c, pdu.LoginRequest{Transit: true, Continue: true, Next: 1})
		}},
		"not a login":  {pdu.LoginInvalidDuringLogin, func(c *client) pdu.LoginStatus { c.send(&pdu.NOPOut{}, nil); return c.loginStatus() }},
		"stage change": {pdu.LoginInitiatorError, changed(func(q *pdu.LoginRequest) { q.Current = pdu.OperationalNegotiation })},
		"ISID change":  {pdu.LoginInitiatorError, changed(func(q *pdu.LoginRequest) { q.ISID[0]++ })},
		"too long": {pdu.LoginInitiatorError, func(c *client) pdu.LoginStatus {
			h := (&pdu.LoginRequest{DataLength: 8193}).AppendTo(nil)
			c.raw(h, nil, nil)
			return c.loginStatus()
		}},
		"AHS": {pdu.LoginInitiatorError, func(c *client) pdu.LoginStatus {
			h := (&pdu.LoginRequest{}).AppendTo(nil)
			h[4] = 1
			c.raw(h, make([]byte, 4), nil)
			return c.loginStatus()
		}},
		"endless continuation": {pdu.LoginInitiatorError, func(c *client) pdu.LoginStatus {
			text := make([]byte, 8000)
			for i := range text {
				text[i] = 'a'
			}
			for {
				c.send(&pdu.LoginRequest{Continue: true, DataLength: len(text), ISID: c.isid, CmdSN: c.cmdSN}, text)
				if s := c.loginStatus(); s != 0 {
					return s
				}
			}
		}},
		"endless requests": {pdu.LoginInitiatorError, func(c *client) pdu.LoginStatus {
			k := usual().AppendTo(nil)
			for {
				c.send(&pdu.LoginRequest{DataLength: len(k), ISID: c.isid, CmdSN: c.cmdSN}, k)
				if s := c.loginStatus(); s != 0 {
					return s
				}
				k = nil
			}
		}},
		"endless keys": {pdu.LoginInitiatorError, func(c *client) pdu.LoginStatus {
			k := usual()
			for i := range 490 {
				k.Add(fmt.Sprintf("X%d", i), "")
			}
			return op(k)(c)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := f.dial(t)
			require.Equal(t, r.want, r.try(c), "%04x", r.want)
			if r.want == pdu.LoginSuccess {
				c.nc.Close()
			}
			c.closed()
			other.testUnitReady()
		})
	}
}

type accessFunc func(string, bool) (Credentials, error)

func (f accessFunc) Login(name string, discovery bool) (Credentials, error) {
	return f(name, discovery)
}

func (c *client) loginStatus() pdu.LoginStatus {
	c.t.Helper()
	r := c.receive()
	require.Equal(c.t, pdu.OpLoginResponse, r.header.OpCode())
	var p pdu.LoginResponse
	p.Parse(r.header)
	return p.Status
}

func at(stage pdu.Stage, k pdu.Keys) func(*client) pdu.LoginStatus {
	return func(c *client) pdu.LoginStatus {
		text := k.AppendTo(nil)
		return rawLogin(c, pdu.LoginRequest{Transit: true, Current: stage, Next: pdu.FullFeaturePhase, DataLength: len(text), TSIH: c.tsih}, text...)
	}
}

func op(k pdu.Keys) func(*client) pdu.LoginStatus { return at(pdu.OperationalNegotiation, k) }

func rawLogin(c *client, q pdu.LoginRequest, text ...byte) pdu.LoginStatus {
	c.t.Helper()
	q.ISID, q.CmdSN = c.isid, c.cmdSN
	c.send(&q, text)
	return c.loginStatus()
}

// afterFirst logs in with two requests of one stage and returns the status of the second.
func afterFirst(c *client, first pdu.Keys, stage pdu.Stage, second pdu.Keys) pdu.LoginStatus {
	c.t.Helper()
	for _, k := range []pdu.Keys{first, second} {
		text := k.AppendTo(nil)
		if s := rawLogin(c, pdu.LoginRequest{Current: stage, Next: stage, DataLength: len(text)}, text...); s != 0 {
			return s
		}
	}
	return pdu.LoginSuccess
}

// changed logs in with two requests that do not belong together.
func changed(change func(*pdu.LoginRequest)) func(*client) pdu.LoginStatus {
	return func(c *client) pdu.LoginStatus {
		text := usual("AuthMethod", "None").AppendTo(nil)
		require.Zero(c.t, rawLogin(c, pdu.LoginRequest{DataLength: len(text)}, text...))
		q := pdu.LoginRequest{ISID: c.isid, CmdSN: c.cmdSN, Transit: true, Next: pdu.FullFeaturePhase}
		change(&q)
		c.send(&q, nil)
		return c.loginStatus()
	}
}

// libiscsi names its initiator again in the operational stage; small scripts send
// AuthMethod there, and operational keys in the security stage.
func TestLenientLogin(t *testing.T) {
	c := serve(t, nil).dial(t)
	p, k := c.loginRequest(pdu.SecurityNegotiation, pdu.OperationalNegotiation, true, usual("AuthMethod", "None", "MaxBurstLength", "4096"))
	require.Zero(t, p.Status)
	v, _ := k.Get("MaxBurstLength")
	require.Equal(t, "4096", v)
	p, k = c.loginRequest(pdu.OperationalNegotiation, pdu.FullFeaturePhase, true, usual("AuthMethod", "None", "SendTargets", "All"))
	require.Zero(t, p.Status)
	require.Equal(t, keysOf("AuthMethod", "Reject", "SendTargets", "Reject", "MaxRecvDataSegmentLength", "262144"), k)
	c.testUnitReady()
}

// Both stages, keys cut over three requests with the C bit.
func TestLoginStages(t *testing.T) {
	c := serve(t, func(o *Options) {
		o.TargetAlias = "lab"
		o.Events.LoginFailed = func(_, _ string, s pdu.LoginStatus, err error) { t.Errorf("%04x: %v", uint16(s), err) }
	}).dial(t)
	text := usual("AuthMethod", "CHAP,None").AppendTo(nil)
	for len(text) > 30 {
		require.Zero(t, rawLogin(c, pdu.LoginRequest{Continue: true, DataLength: 30}, text[:30]...))
		text = text[30:]
	}
	c.expStatSN = 0
	c.send(&pdu.LoginRequest{Transit: true, Next: pdu.OperationalNegotiation, DataLength: len(text), ISID: c.isid, CmdSN: c.cmdSN}, text)
	r := c.expect(pdu.OpLoginResponse)
	k, err := pdu.ParseKeys(r.data)
	require.NoError(t, err)
	require.Equal(t, keysOf("AuthMethod", "None", "TargetPortalGroupTag", "1", "TargetAlias", "lab"), k)
	p, k := c.loginRequest(pdu.OperationalNegotiation, pdu.FullFeaturePhase, true, keysOf("HeaderDigest", "None"))
	require.Equal(t, keysOf("HeaderDigest", "None", "MaxRecvDataSegmentLength", "262144"), k)
	require.True(t, p.Transit)
	require.Equal(t, pdu.FullFeaturePhase, p.Next)
	require.NotZero(t, p.TSIH)
	require.Equal(t, uint32(DefaultCommandWindow), p.MaxCmdSN-p.ExpCmdSN+1)
	c.testUnitReady()
}

func chapKeys(c *client, user, secret, algorithm string, more ...string) (pdu.LoginResponse, pdu.Keys, string) {
	c.t.Helper()
	p, _ := c.loginRequest(pdu.SecurityNegotiation, pdu.SecurityNegotiation, false, usual("AuthMethod", "CHAP,None"))
	require.Zero(c.t, p.Status)
	p, k := c.loginRequest(pdu.SecurityNegotiation, pdu.SecurityNegotiation, false, keysOf("CHAP_A", algorithm))
	require.Zero(c.t, p.Status)
	a, _ := k.Get("CHAP_A")
	i, _ := k.Get("CHAP_I")
	id, ok := negotiate.Number(i, 0, 255)
	require.True(c.t, ok)
	text, _ := k.Get("CHAP_C")
	challenge, err := chap.Value(text)
	require.NoError(c.t, err)
	answer := keysOf("CHAP_N", user, "CHAP_R", "0x"+hex.EncodeToString(chap.Response(a, byte(id), []byte(secret), challenge)))
	if len(more) > 0 && more[len(more)-1] == "reflect" {
		more[len(more)-1] = text
	}
	p, k = c.loginRequest(pdu.SecurityNegotiation, pdu.OperationalNegotiation, true, append(answer, keysOf(more...)...))
	return p, k, a
}

func TestCHAP(t *testing.T) {
	one, two := CHAP{User: "lab", Secret: []byte("initiator-secret")}, CHAP{User: "array", Secret: []byte("target-secret-1")}
	access := open{Credentials{CHAP: &one, Mutual: &two}}
	f := serve(t, func(o *Options) { o.Access = access })
	for _, a := range []string{"5", "6", "7", "8", "99,5"} {
		c := f.dial(t)
		p, _, _ := chapKeys(c, "lab", "initiator-secret", a)
		require.Zero(t, p.Status)
		require.True(t, p.Transit)
		p, _ = c.loginRequest(pdu.OperationalNegotiation, pdu.FullFeaturePhase, true, nil)
		require.Zero(t, p.Status)
		c.testUnitReady()
	}
	// Mutual: the target proves itself, however the challenge is written.
	for _, challenge := range []string{"0x0102030405060708", "0X0102030405060708", "0bAQIDBAUGBwg=", "0x102030405060708"} {
		c := f.dial(t)
		p, k, x := chapKeys(c, "lab", "initiator-secret", "5", "CHAP_I", "0x7", "CHAP_C", challenge)
		require.Zero(t, p.Status)
		name, _ := k.Get("CHAP_N")
		require.Equal(t, "array", name)
		proof, _ := k.Get("CHAP_R")
		require.Equal(t, "0x"+hex.EncodeToString(chap.Response(x, 7, two.Secret, []byte{1, 2, 3, 4, 5, 6, 7, 8})), proof)
	}
	for name, try := range map[string]func(c *client) pdu.LoginStatus{
		"secret": func(c *client) pdu.LoginStatus { p, _, _ := chapKeys(c, "lab", "wrong", "5"); return p.Status },
		"user": func(c *client) pdu.LoginStatus {
			p, _, _ := chapKeys(c, "bal", "initiator-secret", "5")
			return p.Status
		},
		"reflection": func(c *client) pdu.LoginStatus {
			p, _, _ := chapKeys(c, "lab", "initiator-secret", "5", "CHAP_I", "1", "CHAP_C", "reflect")
			return p.Status
		},
		"challenge": func(c *client) pdu.LoginStatus {
			p, _, _ := chapKeys(c, "lab", "initiator-secret", "5", "CHAP_I", "1", "CHAP_C", "zz")
			return p.Status
		},
		"challenge without identifier": func(c *client) pdu.LoginStatus {
			p, _, _ := chapKeys(c, "lab", "initiator-secret", "5", "CHAP_C", "0x0102030405060708")
			return p.Status
		},
		"identifier without challenge": func(c *client) pdu.LoginStatus {
			p, _, _ := chapKeys(c, "lab", "initiator-secret", "5", "CHAP_I", "1")
			return p.Status
		},
		"identifier of two bytes": func(c *client) pdu.LoginStatus {
			p, _, _ := chapKeys(c, "lab", "initiator-secret", "5", "CHAP_I", "256", "CHAP_C", "0x0102030405060708")
			return p.Status
		},
		"challenge of 1,025 bytes": func(c *client) pdu.LoginStatus {
			p, _, _ := chapKeys(c, "lab", "initiator-secret", "5", "CHAP_I", "1", "CHAP_C", "0x"+strings.Repeat("5a", 1025))
			return p.Status
		},
		"nothing where the response should be": func(c *client) pdu.LoginStatus {
			c.loginRequest(pdu.SecurityNegotiation, pdu.SecurityNegotiation, false, usual("AuthMethod", "CHAP", "CHAP_A", "5"))
			p, _ := c.loginRequest(pdu.SecurityNegotiation, pdu.OperationalNegotiation, true, nil)
			return p.Status
		},
		"algorithm": func(c *client) pdu.LoginStatus {
			c.loginRequest(pdu.SecurityNegotiation, pdu.SecurityNegotiation, false, usual("AuthMethod", "CHAP"))
			p, _ := c.loginRequest(pdu.SecurityNegotiation, pdu.SecurityNegotiation, false, keysOf("CHAP_A", "99"))
			return p.Status
		},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, pdu.LoginAuthenticationFailed, try(f.dial(t))) })
	}
	// The answer of RFC 1994's construction, computed by hand with md5sum.
	require.Equal(t, "23a3ec3b33eb13f73ca54a90d5594eef", hex.EncodeToString(chap.Response("5", 1, []byte("s"), []byte("c"))))
}

// RFC 7143 6.3.5: the same initiator port logs in again.
func TestReinstatement(t *testing.T) {
	f := serve(t, nil)
	old := f.session(t)
	p := old.command([16]byte{opHang})
	old.send(p, nil)
	f.disk.waitRunning(1)
	c := f.session(t)
	c.testUnitReady()
	old.closed()
	require.Len(t, f.server.Sessions(), 1)
	require.Len(t, f.disk.lost, 1)
	require.Zero(t, f.disk.taskCount())
	other := f.dial(t)
	other.isid[5] = 2
	other.login()
	require.Len(t, f.server.Sessions(), 2)
	c.testUnitReady()
}

// RFC 7143 6.3.4: a login with ISID, TSIH and CID of a connection takes its place;
// the session keeps its handle, and its CmdSN goes on.
func TestConnectionReinstatement(t *testing.T) {
	f := serve(t, nil)
	old := f.session(t)
	old.testUnitReady()
	tsih := f.server.Sessions()[0].TSIH
	old.send(old.command([16]byte{opHang}), nil)
	f.disk.waitRunning(1)
	c := f.dial(t)
	c.tsih, c.cmdSN = tsih, old.cmdSN
	p, _ := c.loginRequest(pdu.OperationalNegotiation, pdu.FullFeaturePhase, true, usual())
	require.Equal(t, pdu.LoginSuccess, p.Status)
	require.Equal(t, tsih, p.TSIH)
	c.testUnitReady()
	old.closed()
	require.Len(t, f.server.Sessions(), 1)
	require.Len(t, f.disk.lost, 1)
	require.Zero(t, f.disk.taskCount())
	c.nc.Close()
	require.Eventually(t, func() bool { return len(f.server.Sessions()) == 0 }, testPatience, time.Millisecond)
	f.session(t).testUnitReady()
}

func TestRefusedNexus(t *testing.T) {
	opened := 0
	f := serve(t, func(o *Options) {
		o.Events.SessionOpened = func(SessionInfo) { opened++ }
		o.Events.SessionClosed = func(SessionInfo, error) { opened-- }
	})
	f.disk.refuse = errors.New("full")
	require.Equal(t, pdu.LoginOutOfResources, op(usual())(f.dial(t)))
	require.Eventually(t, func() bool { return len(f.server.Sessions()) == 0 }, testPatience, time.Millisecond)
	require.Zero(t, opened)
}

func TestMaxSessions(t *testing.T) {
	f := serve(t, func(o *Options) { o.MaxSessions = 2 })
	for i := range 2 {
		c := f.dial(t)
		c.isid[5] = byte(i)
		c.login()
	}
	c := f.dial(t)
	c.isid[5] = 9
	require.Equal(t, pdu.LoginOutOfResources, op(usual())(c))
	// Reinstatement needs no further session.
	c = f.dial(t)
	c.isid[5] = 1
	c.login()
	c.testUnitReady()
}

// The handles of 65,536 logins and more: none is zero, none is given twice.
func TestTSIHWrap(t *testing.T) {
	s, err := NewServer(Options{TargetName: testTarget, Target: newDisk(0), Access: open{}, Portals: func() []PortalAddress { return nil }})
	require.NoError(t, err)
	held := &connection{discovery: true}
	status, err := s.register(held)
	require.NoError(t, err)
	require.Zero(t, status)
	for range 1<<17 + 5 {
		c := &connection{discovery: true}
		_, err := s.register(c)
		require.NoError(t, err)
		require.NotZero(t, c.tsih)
		require.NotEqual(t, held.tsih, c.tsih)
		s.ended(c)
	}
	require.Len(t, s.byTSIH, 1)
}

// 65,536 logins one after the other, each logged out: more than there are handles.
func TestManyLogins(t *testing.T) {
	n := 1 << 16
	if testing.Short() {
		n = 1000
	}
	s := newQuietServer(t)
	for i := range n {
		near, far := net.Pipe()
		s.start(far, 1)
		c := &client{t: t, nc: near, isid: [6]byte{1}, cmdSN: 1}
		c.login()
		if i%2 == 0 {
			c.send(&pdu.LogoutRequest{Immediate: true, TaskTag: 1, CmdSN: c.cmdSN}, nil)
			var p pdu.LogoutResponse
			p.Parse(c.expect(pdu.OpLogoutResponse).header)
			require.Zero(t, p.Response)
		} // else the next login reinstates the session
		defer near.Close()
	}
	require.NoError(t, s.Shutdown(context.Background()))
	require.Empty(t, s.Sessions())
	require.Empty(t, s.connections)
	require.Empty(t, s.pending)
}

// pipeServer runs one connection over net.Pipe in a synctest bubble.
func pipeServer(t *testing.T) (*Server, *client) {
	s, err := NewServer(Options{TargetName: testTarget, Target: newDisk(1 << 20), Access: open{}, Portals: func() []PortalAddress { return nil }})
	require.NoError(t, err)
	near, far := net.Pipe()
	s.start(far, 1)
	return s, &client{t: t, nc: near, isid: [6]byte{1}, cmdSN: 1}
}

// A client that says nothing, or half a PDU, is gone after the login time-out.
func TestLoginTimeout(t *testing.T) {
	for _, n := range []int{0, 20} {
		synctest.Test(t, func(t *testing.T) {
			s, c := pipeServer(t)
			start := time.Now()
			if n > 0 {
				_, err := c.nc.Write((&pdu.LoginRequest{}).AppendTo(nil)[:n])
				require.NoError(t, err)
			}
			c.closed()
			require.Equal(t, DefaultLoginTimeout, time.Since(start))
			require.NoError(t, s.Shutdown(context.Background()))
		})
	}
}

// A silent initiator is pinged, and dropped when it does not answer.
func TestDeadPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reason error
		s, c := pipeServer(t)
		s.o.Events.SessionClosed = func(_ SessionInfo, err error) { reason = err }
		c.login()
		for range 3 {
			var p pdu.NOPIn
			p.Parse(c.expect(pdu.OpNOPIn).header)
			require.NotEqual(t, uint32(pdu.ReservedTag), p.TransferTag)
			c.send(&pdu.NOPOut{Immediate: true, TaskTag: pdu.ReservedTag, TransferTag: p.TransferTag, CmdSN: c.cmdSN}, nil)
		}
		c.testUnitReady()
		start := time.Now()
		c.expect(pdu.OpNOPIn)
		c.closed()
		require.InDelta(t, (DefaultNOPInterval + DefaultNOPTimeout).Seconds(), time.Since(start).Seconds(), 5)
		require.NoError(t, s.Shutdown(context.Background()))
		require.ErrorIs(t, reason, errDeadPeer)
	})
}

// A line too slow to carry a batch within the write time-out keeps its session.
func TestSlowReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipeServer(t)
		c.login()
		p := c.command(rw10(0x28, 0, 1024))
		p.Read, p.ExpectedDataLength = true, 1024*testBlock
		c.send(p, nil)
		start := time.Now()
		left := 1024*testBlock + 8*pdu.HeaderLength // segments of 64 KiB
		for left > 0 {
			n, err := io.ReadFull(c.nc, make([]byte, min(left, 8192)))
			require.NoError(t, err)
			left -= n
			time.Sleep(2 * time.Second) // the bubble's clock
		}
		require.Greater(t, time.Since(start), 3*DefaultWriteTimeout)
		c.expStatSN++
		c.expect(pdu.OpNOPIn) // sent when the initiator had been silent, and as slow as the data before it
		c.testUnitReady()
		c.nc.Close()
		require.NoError(t, s.Shutdown(context.Background()))
	})
}

// An initiator that takes nothing ends its session, after the write time-out.
func TestStalledReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipeServer(t)
		c.login()
		p := c.command(rw10(0x28, 0, 64))
		p.Read, p.ExpectedDataLength = true, 32768
		c.send(p, nil)
		start := time.Now()
		synctest.Wait()
		require.Len(t, s.Sessions(), 1)
		time.Sleep(DefaultWriteTimeout + time.Second) // the bubble's clock
		synctest.Wait()
		require.Empty(t, s.Sessions())
		require.Less(t, time.Since(start), time.Minute)
		require.NoError(t, s.Shutdown(context.Background()))
	})
}
