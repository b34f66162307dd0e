package iscsi

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi/iscsi/pdu"
)

// RFC 7143 13: offers and results.
func TestNegotiate(t *testing.T) {
	for _, r := range []struct {
		offer, want pdu.Keys
		discovery   bool
	}{
		{offer: keysOf("HeaderDigest", "CRC32C,None", "DataDigest", "None"), want: keysOf("HeaderDigest", "CRC32C", "DataDigest", "None")},
		{offer: keysOf("HeaderDigest", "X-mine"), want: keysOf("HeaderDigest", "Reject")},
		{offer: keysOf("MaxConnections", "8", "ErrorRecoveryLevel", "2", "DefaultTime2Wait", "0", "DefaultTime2Retain", "20"),
			want: keysOf("MaxConnections", "1", "ErrorRecoveryLevel", "0", "DefaultTime2Wait", "2", "DefaultTime2Retain", "0")},
		{offer: keysOf("InitialR2T", "Yes", "ImmediateData", "No"), want: keysOf("InitialR2T", "Yes", "ImmediateData", "No")},
		{offer: keysOf("InitialR2T", "No", "ImmediateData", "Yes"), want: keysOf("InitialR2T", "No", "ImmediateData", "Yes")},
		{offer: keysOf("InitialR2T", "yes"), want: keysOf("InitialR2T", "Reject")},
		{offer: keysOf("DataPDUInOrder", "No", "DataSequenceInOrder", "No"), want: keysOf("DataPDUInOrder", "Yes", "DataSequenceInOrder", "Yes")},
		{offer: keysOf("MaxBurstLength", "16776192", "FirstBurstLength", "0x40000"), want: keysOf("MaxBurstLength", "1048576", "FirstBurstLength", "262144")},
		{offer: keysOf("FirstBurstLength", "262144", "MaxBurstLength", "65536"), want: keysOf("FirstBurstLength", "65536", "MaxBurstLength", "65536")},
		{offer: keysOf("MaxBurstLength", "511"), want: keysOf("MaxBurstLength", "Reject")},
		{offer: keysOf("MaxBurstLength", "0x"), want: keysOf("MaxBurstLength", "Reject")},
		{offer: keysOf("MaxOutstandingR2T", "010"), want: keysOf("MaxOutstandingR2T", "8")},
		{offer: keysOf("MaxRecvDataSegmentLength", "262144"), want: nil},
		{offer: keysOf("MaxRecvDataSegmentLength", "16777216"), want: keysOf("MaxRecvDataSegmentLength", "Reject")},
		{offer: keysOf("TaskReporting", "FastAbort,RFC3720"), want: keysOf("TaskReporting", "RFC3720")},
		{offer: keysOf("iSCSIProtocolLevel", "2"), want: keysOf("iSCSIProtocolLevel", "1")},
		{offer: keysOf("IFMarker", "Yes", "X-org.example.key", "1"), want: keysOf("IFMarker", "No", "X-org.example.key", "NotUnderstood")},
		{offer: keysOf("InitialR2T", "No", "HeaderDigest", "None"), want: keysOf("InitialR2T", "Irrelevant", "HeaderDigest", "None"), discovery: true},
	} {
		p := defaultParameters()
		got, err := p.negotiate(r.offer, r.discovery, map[string]bool{})
		require.NoError(t, err)
		require.Equal(t, r.want, got, "%v", r.offer)
		require.LessOrEqual(t, p.firstBurst, p.maxBurst)
	}
	p := defaultParameters()
	_, err := p.negotiate(keysOf("TargetPortalGroupTag", "1"), false, map[string]bool{})
	require.ErrorIs(t, err, errProtocol)
	done := map[string]bool{}
	_, err = p.negotiate(keysOf("ErrorRecoveryLevel", "0"), false, done)
	require.NoError(t, err)
	_, err = p.negotiate(keysOf("ErrorRecoveryLevel", "0"), false, done)
	require.ErrorIs(t, err, errProtocol)
}

func FuzzNegotiate(f *testing.F) {
	f.Add(keysOf("HeaderDigest", "CRC32C,None", "MaxBurstLength", "0x1000", "FirstBurstLength", "262144", "InitialR2T", "No").AppendTo(nil), true)
	f.Add(keysOf("MaxRecvDataSegmentLength", "512", "X-a", "b").AppendTo(nil), false)
	f.Fuzz(func(t *testing.T, text []byte, discovery bool) {
		keys, err := pdu.ParseKeys(text)
		if err != nil {
			return
		}
		p := defaultParameters()
		answers, err := p.negotiate(keys, discovery, map[string]bool{})
		if err != nil {
			return
		}
		if p.maxSend < 512 || p.maxSend > 1<<24-1 || p.maxBurst < 512 || p.maxBurst > maxBurst || p.firstBurst < 512 ||
			p.firstBurst > p.maxBurst || p.maxR2T < 1 || p.maxR2T > maxOutstandingR2T {
			t.Fatalf("%+v", p)
		}
		if len(answers) > len(keys) {
			t.Fatalf("%d answers to %d keys", len(answers), len(keys))
		}
	})
}

func usual(more ...string) pdu.Keys {
	return append(keysOf("InitiatorName", testInitiator, "TargetName", testTarget), keysOf(more...)...)
}

func TestLoginStatus(t *testing.T) {
	f := serve(t, func(o *Options) {
		o.Access = accessFunc(func(name string, discovery bool) (Credentials, error) {
			if name == "iqn.2026-01.test:stranger" {
				return Credentials{}, ErrNotAuthorized
			}
			if name == "iqn.2026-01.test:secret" {
				return Credentials{CHAP: &CHAP{"u", []byte("0123456789ab")}}, nil
			}
			return Credentials{}, nil
		})
	})
	other := f.session(t)
	for name, r := range map[string]struct {
		want pdu.LoginStatus
		try  func(c *client) pdu.LoginStatus
	}{
		"no initiator name":  {pdu.LoginMissingParameter, op(keysOf("TargetName", testTarget))},
		"no target name":     {pdu.LoginMissingParameter, op(keysOf("InitiatorName", testInitiator))},
		"other target":       {pdu.LoginTargetNotFound, op(keysOf("InitiatorName", testInitiator, "TargetName", "iqn.x"))},
		"session type":       {pdu.LoginSessionTypeRefused, op(usual("SessionType", "Strange"))},
		"stranger":           {pdu.LoginAuthorizationFailed, op(keysOf("InitiatorName", "iqn.2026-01.test:stranger", "TargetName", testTarget))},
		"CHAP passed over":   {pdu.LoginAuthenticationFailed, op(keysOf("InitiatorName", "iqn.2026-01.test:secret", "TargetName", testTarget))},
		"target's own key":   {pdu.LoginInitiatorError, op(usual("TargetAddress", "1.2.3.4"))},
		"key twice":          {pdu.LoginInitiatorError, op(append(usual(), usual()...))},
		"CHAP only":          {pdu.LoginAuthenticationFailed, at(pdu.SecurityNegotiation, usual("AuthMethod", "CHAP"))},
		"None where CHAP is": {pdu.LoginAuthenticationFailed, at(pdu.SecurityNegotiation, keysOf("InitiatorName", "iqn.2026-01.test:secret", "TargetName", testTarget, "AuthMethod", "None"))},
		"transit, no method": {pdu.LoginAuthenticationFailed, at(pdu.SecurityNegotiation, keysOf("InitiatorName", "iqn.2026-01.test:secret", "TargetName", testTarget))},
		"unknown TSIH": {pdu.LoginSessionDoesNotExist, func(c *client) pdu.LoginStatus {
			c.tsih = 0x4242
			return op(usual())(c)
		}},
		"second connection": {pdu.LoginTooManyConnections, func(c *client) pdu.LoginStatus {
			c.tsih = f.server.Sessions()[0].TSIH
			return op(usual())(c)
		}},
		"TSIH of another port": {pdu.LoginSessionDoesNotExist, func(c *client) pdu.LoginStatus {
			c.tsih = f.server.Sessions()[0].TSIH
			c.isid[5] = 99
			return op(usual())(c)
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

func chapKeys(c *client, user, secret, algorithm string, more ...string) (pdu.LoginResponse, pdu.Keys, *chapExchange) {
	c.t.Helper()
	p, _ := c.loginRequest(pdu.SecurityNegotiation, pdu.SecurityNegotiation, false, usual("AuthMethod", "CHAP,None"))
	require.Zero(c.t, p.Status)
	p, k := c.loginRequest(pdu.SecurityNegotiation, pdu.SecurityNegotiation, false, keysOf("CHAP_A", algorithm))
	require.Zero(c.t, p.Status)
	x := &chapExchange{}
	a, _ := k.Get("CHAP_A")
	x.hash = chapHashes[a]
	require.NotNil(c.t, x.hash)
	i, _ := k.Get("CHAP_I")
	id, ok := number(i, 0, 255)
	require.True(c.t, ok)
	text, _ := k.Get("CHAP_C")
	challenge, err := binaryValue(text)
	require.NoError(c.t, err)
	x.challenge = challenge
	answer := keysOf("CHAP_N", user, "CHAP_R", "0x"+hex.EncodeToString(x.response(byte(id), []byte(secret), challenge)))
	if len(more) > 0 && more[len(more)-1] == "reflect" {
		more[len(more)-1] = text
	}
	p, k = c.loginRequest(pdu.SecurityNegotiation, pdu.OperationalNegotiation, true, append(answer, keysOf(more...)...))
	return p, k, x
}

func TestCHAP(t *testing.T) {
	one, two := CHAP{"lab", []byte("initiator-secret")}, CHAP{"array", []byte("target-secret-1")}
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
	// Mutual: the target proves itself.
	c := f.dial(t)
	p, k, x := chapKeys(c, "lab", "initiator-secret", "5", "CHAP_I", "7", "CHAP_C", "0x0102030405060708")
	require.Zero(t, p.Status)
	name, _ := k.Get("CHAP_N")
	require.Equal(t, "array", name)
	proof, _ := k.Get("CHAP_R")
	require.Equal(t, "0x"+hex.EncodeToString(x.response(7, two.Secret, []byte{1, 2, 3, 4, 5, 6, 7, 8})), proof)
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
		"algorithm": func(c *client) pdu.LoginStatus {
			c.loginRequest(pdu.SecurityNegotiation, pdu.SecurityNegotiation, false, usual("AuthMethod", "CHAP"))
			p, _ := c.loginRequest(pdu.SecurityNegotiation, pdu.SecurityNegotiation, false, keysOf("CHAP_A", "99"))
			return p.Status
		},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, pdu.LoginAuthenticationFailed, try(f.dial(t))) })
	}
	// The answer of RFC 1994's construction, computed by hand with md5sum.
	x = &chapExchange{hash: chapHashes["5"]}
	require.Equal(t, "23a3ec3b33eb13f73ca54a90d5594eef", hex.EncodeToString(x.response(1, []byte("s"), []byte("c"))))
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

func TestManyLogins(t *testing.T) {
	f := serve(t, nil)
	for range 300 {
		c := f.session(t)
		c.send(&pdu.LogoutRequest{Immediate: true, TaskTag: 1, CmdSN: c.cmdSN}, nil)
		var p pdu.LogoutResponse
		p.Parse(c.expect(pdu.OpLogoutResponse).header)
		require.Zero(t, p.Response)
		c.closed()
	}
	require.Eventually(t, func() bool { return len(f.server.Sessions()) == 0 }, testPatience, time.Millisecond)
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
