package vasa

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vvsim/vasa/session"
	"vvsim/vasa/trust"
	"vvsim/vasa/vasatest"
	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// TestRegistration goes the way of vasa.md 8.1, in both versions of SOAP.
func TestRegistration(t *testing.T) {
	for _, version := range []wire.Version{wire.SOAP11, wire.SOAP12} {
		t.Run(version.String(), func(t *testing.T) {
			ctx, l := t.Context(), newLab(t, nil)
			cert, err := l.vmca.Issue("sps", nil)
			require.NoError(t, err)
			c := l.client(cert, version)
			body, header, err := c.Get(ctx, VersionPath)
			require.NoError(t, err)
			require.Contains(t, string(body), `serviceLocation="`+ServicePath+`"`)
			require.Contains(t, header.Get("Content-Type"), "text/xml")

			vc := &wire.SetContext{UsageContext: &wire.UsageContext{VCGUID: new("A-VC")}}
			l.fault(c, "InvalidSession", vc)
			l.fault(c, "InvalidLogin", &wire.RegisterCACertificatesAndCRLs{ProviderUserName: "vasa", ProviderPassword: "wrong", CARootCert: []string{"nonsense"}})
			l.fault(c, "InvalidCertificate", &wire.RegisterCACertificatesAndCRLs{ProviderUserName: "vasa", ProviderPassword: "secret-of-the-lab", CARootCert: []string{"nonsense"}})
			info, err := vasatest.Do[wire.RegisterCACertificatesAndCRLsResponse](ctx, c,
				&wire.RegisterCACertificatesAndCRLs{ProviderUserName: "vasa", ProviderPassword: "secret-of-the-lab", CARootCert: []string{l.vmca.PEM()}})
			require.NoError(t, err)
			require.True(t, *info.Return.RetainVasaProviderCertificate)
			require.Equal(t, session.NoID, *info.Return.SessionID)

			l.fault(c, "InvalidSession", &wire.QueryCACertificates{})
			l.fault(c, "InvalidArgument", &wire.SetContext{})
			l.fault(c, "InvalidArgument", &wire.SetContext{UsageContext: &wire.UsageContext{}})
			set, err := vasatest.Do[wire.SetContextResponse](ctx, c, vc)
			require.NoError(t, err)
			require.Len(t, *set.Return.SessionID, 32)
			roots, err := vasatest.Do[wire.QueryCACertificatesResponse](ctx, c, &wire.QueryCACertificates{})
			require.NoError(t, err)
			require.Equal(t, []string{l.vmca.PEM()}, roots.Return)
			again, err := vasatest.Do[wire.SetContextResponse](ctx, c, vc)
			require.NoError(t, err)
			require.NotEqual(t, *set.Return.SessionID, *again.Return.SessionID, "a new session")
			require.Len(t, l.Sessions(), 1, "in place of the old one")
		})
	}
}

// TestSessions belong to their certificate, and end in time.
func TestSessions(t *testing.T) {
	ctx, l := t.Context(), newLab(t, func(o *Options) { o.Limits.Sessions = 3 })
	vc := l.vcenter("one")
	id := l.Sessions()[0].ID
	other := l.issued("other")
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, l.server.URL+ServicePath, strings.NewReader(""))
	require.NoError(t, err)
	r.AddCookie(&http.Cookie{Name: cookieName, Value: id})
	_, err = l.sessions.Find(id, "another certificate")
	require.ErrorIs(t, err, session.ErrNone)
	l.fault(other, "InvalidSession", &wire.QueryCACertificates{})

	short := l.issued("short")
	_, err = short.Call(ctx, &wire.SetContext{UsageContext: &wire.UsageContext{VCGUID: new("short"), SessionTimeoutInSeconds: new(int64(10))}})
	require.NoError(t, err)
	l.passes(9 * time.Second)
	_, err = short.Call(ctx, &wire.QueryCACertificates{})
	require.NoError(t, err)
	l.passes(9 * time.Second)
	_, err = short.Call(ctx, &wire.QueryCACertificates{})
	require.NoError(t, err, "every request restarts the timer")
	l.passes(11 * time.Second)
	l.fault(short, "InvalidSession", &wire.QueryCACertificates{})
	_, err = vc.Call(ctx, &wire.QueryCACertificates{})
	require.NoError(t, err)

	l.host("a")
	l.host("b")
	full := l.issued("c")
	l.fault(full, "StorageFault", &wire.SetContext{UsageContext: usageOf("c")})
	l.passes(DefaultSessionTimeout)
	_, err = full.Call(ctx, &wire.SetContext{UsageContext: usageOf("c")})
	require.NoError(t, err, "sessions that timed out make room")
}

// TestHostConflict is loud about two hosts with one hostGuid.
func TestHostConflict(t *testing.T) {
	l := newLab(t, nil)
	l.host("a")
	twin := l.issued("twin")
	usage := usageOf("twin")
	usage.HostGUID = new(strings.ToUpper(hostGUID("a")))
	_, err := twin.Call(t.Context(), &wire.SetContext{UsageContext: usage})
	require.NoError(t, err)
	l.mu.Lock()
	require.Len(t, l.conflicts, 1)
	require.Contains(t, l.conflicts[0], hostIQN("twin"))
	l.mu.Unlock()
	usage.HostInitiator[0].PortWWN = new("20:00:00:25:b5:00:00:01")
	l.fault(twin, "InvalidArgument", &wire.SetContext{UsageContext: usage})
}

// TestUnregister ends the trust in a single certificate, for those who are trusted.
func TestUnregister(t *testing.T) {
	ctx, l := t.Context(), newLab(t, nil)
	alone, err := vasatest.NewAuthority("alone")
	require.NoError(t, err)
	cert, err := alone.Issue("client", nil)
	require.NoError(t, err)
	pem := vasatest.PEM(cert.Leaf)
	c := l.client(cert, wire.SOAP11)
	l.fault(c, "InvalidLogin", &wire.RegisterVASACertificate{UserName: new("vasa"), Password: new("no"), NewCertificate: &pem})
	l.fault(c, "InvalidCertificate", &wire.RegisterVASACertificate{UserName: new("vasa"), Password: new("secret-of-the-lab")})
	_, err = c.Call(ctx, &wire.RegisterVASACertificate{UserName: new("vasa"), Password: new("secret-of-the-lab"), NewCertificate: &pem})
	require.NoError(t, err)
	_, err = c.Call(ctx, &wire.SetContext{UsageContext: &wire.UsageContext{VCGUID: new("vc")}})
	require.NoError(t, err)
	l.fault(l.client(nil, wire.SOAP11), "InvalidCertificate", &wire.UnregisterVASACertificate{ExistingCertificate: &pem})
	l.fault(c, "InvalidCertificate", &wire.UnregisterVASACertificate{ExistingCertificate: new(l.vmca.PEM())})
	_, err = c.Call(ctx, &wire.UnregisterVASACertificate{ExistingCertificate: &pem})
	require.NoError(t, err)
	l.fault(c, "InvalidSession", &wire.SetContext{UsageContext: &wire.UsageContext{VCGUID: new("vc")}})
}

// TestUnregisterRoots: who is trusted by a root may end that, for its own root alone; a
// certificate below it is none that could be unregistered.
func TestUnregisterRoots(t *testing.T) {
	ctx, l := t.Context(), newLab(t, nil)
	c := l.vcenter("vc")
	other, err := vasatest.NewAuthority("other")
	require.NoError(t, err)
	_, err = c.Call(ctx, &wire.RegisterCACertificatesAndCRLs{ProviderUserName: "vasa", ProviderPassword: "secret-of-the-lab", CARootCert: []string{other.PEM()}})
	require.NoError(t, err)
	foreign, err := other.Issue("host", nil)
	require.NoError(t, err)
	leaf, stranger := vasatest.PEM(foreign.Leaf), l.client(foreign, wire.SOAP11)
	usage := &wire.SetContext{UsageContext: &wire.UsageContext{VCGUID: new("other")}}
	_, err = stranger.Call(ctx, usage)
	require.NoError(t, err, "two roots are trusted")
	l.fault(stranger, "InvalidCertificate", &wire.UnregisterVASACertificate{ExistingCertificate: &leaf})
	l.fault(stranger, "InvalidCertificate", &wire.UnregisterVASACertificate{ExistingCertificate: new(l.vmca.PEM())})
	_, err = stranger.Call(ctx, usage)
	require.NoError(t, err)
	_, err = stranger.Call(ctx, &wire.UnregisterVASACertificate{ExistingCertificate: new(other.PEM())})
	require.NoError(t, err)
	l.fault(stranger, "InvalidSession", usage)
	_, err = c.Call(ctx, &wire.SetContext{UsageContext: &wire.UsageContext{VCGUID: new("vc")}})
	require.NoError(t, err)
}

// TestLockOut: a locked account is StorageFault, with the right password too (vasa.md 1.5).
func TestLockOut(t *testing.T) {
	l := newLab(t, nil)
	c := l.client(nil, wire.SOAP11)
	login := &wire.RegisterCACertificatesAndCRLs{ProviderUserName: "vasa", ProviderPassword: "wrong", CARootCert: []string{l.vmca.PEM()}}
	for range 5 {
		l.fault(c, "InvalidLogin", login)
	}
	login.ProviderPassword = "secret-of-the-lab"
	l.fault(c, "StorageFault", login)
	l.passes(time.Hour)
	_, err := c.Call(t.Context(), login)
	require.NoError(t, err)
}

// TestActivation has nothing to do and says so.
func TestActivation(t *testing.T) {
	ctx, l := t.Context(), newLab(t, nil)
	c := l.vcenter("vc")
	k := l.service.Containers()[0].ID.String()
	for _, id := range []string{l.arrayID(), k} {
		_, err := c.Call(ctx, &wire.ActivateProvider{EntityID: id})
		require.NoError(t, err)
		r, err := vasatest.Do[wire.ActivateProviderExResponse](ctx, c, &wire.ActivateProviderEx{ActivationSpec: wire.ActivationSpec{EntityID: id}})
		require.NoError(t, err)
		require.Equal(t, wire.TaskStateSuccess, r.Return.TaskState)
		u, err := vasatest.Do[wire.GetTaskUpdateResponse](ctx, c, &wire.GetTaskUpdate{TaskID: r.Return.TaskID})
		require.NoError(t, err)
		require.Equal(t, r.Return, u.Return)
		l.fault(c, "NotCancellable", &wire.CancelTask{TaskID: r.Return.TaskID})
	}
	l.fault(c, "InvalidArgument", &wire.ActivateProvider{EntityID: "another"})
	l.fault(c, "NotFound", &wire.GetTaskUpdate{TaskID: "nothing:1"})
	cookie, err := vasatest.Do[wire.SetStorageContainerContextResponse](ctx, c, &wire.SetStorageContainerContext{ContainerID: k})
	require.NoError(t, err)
	require.NotEmpty(t, cookie.Return)
}

// served is the certificate that a new connection gets.
func (l *lab) served() string {
	conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(l.t.Context(), "tcp", l.server.Listener.Addr().String())
	require.NoError(l.t, err)
	defer conn.Close()
	return vasatest.PEM(conn.(*tls.Conn).ConnectionState().PeerCertificates[0])
}

// TestCertificates of the provider are replaced by vCenter, unless they are retained, and
// those of clients revoked by it.
func TestCertificates(t *testing.T) {
	ctx := t.Context()
	l := newLab(t, nil)
	c := l.vcenter("vc")
	l.fault(c, "PermissionDenied", &wire.RequestCSR{})
	l.fault(c, "PermissionDenied", &wire.RegisterCASignedProviderCertificate{ProviderCert: l.vmca.PEM(), ForceApply: true})

	managed, err := trust.Open("", trust.Options{Addresses: []string{"127.0.0.1"}, Password: "secret-of-the-lab"})
	require.NoError(t, err)
	l = newLab(t, func(o *Options) { o.Trust = managed })
	before := l.served()
	c = l.issued("sps")
	_, err = c.Call(ctx, &wire.SetContext{UsageContext: &wire.UsageContext{VCGUID: new("vc")}})
	require.NoError(t, err)
	csr, err := vasatest.Do[wire.RequestCSRResponse](ctx, c, &wire.RequestCSR{})
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(csr.Return, "-----BEGIN CERTIFICATE REQUEST-----\n"), csr.Return)
	require.NotContains(t, csr.Return, "\r")
	l.fault(c, "InvalidCertificate", &wire.RegisterCASignedProviderCertificate{ProviderCert: "nonsense"})
	signed, err := l.vmca.Sign(csr.Return)
	require.NoError(t, err)
	_, err = c.Call(ctx, &wire.RegisterCASignedProviderCertificate{ProviderCert: signed})
	require.NoError(t, err)
	require.Equal(t, signed, l.served(), "without a restart")
	require.NotEqual(t, before, signed)

	host, err := l.vmca.Issue("host", nil)
	require.NoError(t, err)
	h := l.client(host, wire.SOAP11)
	_, err = h.Call(ctx, &wire.SetContext{UsageContext: usageOf("a")})
	require.NoError(t, err)
	crl, err := l.vmca.Revoke(1, host.Leaf)
	require.NoError(t, err)
	l.fault(c, "InvalidCertificate", &wire.RefreshCACertificatesAndCRLs{CARootCert: []string{"nonsense"}})
	_, err = c.Call(ctx, &wire.RefreshCACertificatesAndCRLs{CARootCert: []string{l.vmca.PEM()}, CACRL: []string{crl}})
	require.NoError(t, err)
	l.fault(h, "InvalidSession", &wire.QueryArrays{})
	lists, err := vasatest.Do[wire.QueryCACertificateRevocationListsResponse](ctx, c, &wire.QueryCACertificateRevocationLists{})
	require.NoError(t, err)
	require.Equal(t, []string{crl}, lists.Return)
}

// TestClosedBootstrap: with the knob a signing request needs a trusted certificate, as its answer
// does; a registration, which has a password, does not.
func TestClosedBootstrap(t *testing.T) {
	ctx := t.Context()
	managed, err := trust.Open("", trust.Options{Addresses: []string{"127.0.0.1"}, Password: "secret-of-the-lab"})
	require.NoError(t, err)
	l := newLab(t, func(o *Options) { o.Trust = managed })
	stranger := l.client(nil, wire.SOAP11)
	before := l.served()
	csr := do[wire.RequestCSRResponse](l, stranger, &wire.RequestCSR{})
	signed, err := l.vmca.Sign(csr.Return)
	require.NoError(t, err)
	l.set(Knobs{ClosedBootstrap: true})
	l.fault(stranger, "InvalidSession", &wire.RequestCSR{})
	l.fault(stranger, "InvalidSession", &wire.RegisterCASignedProviderCertificate{ProviderCert: signed, ForceApply: true})
	require.Equal(t, before, l.served(), "nothing was changed")
	c := l.issued("sps") // registers without a trusted certificate
	again := do[wire.RequestCSRResponse](l, c, &wire.RequestCSR{})
	require.Equal(t, csr.Return, again.Return, "the request that waits")
	_, err = c.Call(ctx, &wire.RegisterCASignedProviderCertificate{ProviderCert: signed})
	require.NoError(t, err)
	require.Equal(t, signed, l.served())
}

// TestTasks that run are listed, and copies among them can be cancelled.
func TestTasks(t *testing.T) {
	ctx, l := t.Context(), newLab(t, nil)
	c := l.host("a")
	tasks, err := vasatest.Do[wire.GetCurrentTaskResponse](ctx, c, &wire.GetCurrentTask{})
	require.NoError(t, err)
	require.Empty(t, tasks.Return)
	l.fault(c, "NotFound", &wire.GetCurrentTask{ArrayID: new("another")})

	src := l.create("src", 8)
	base, err := l.service.Snapshot(ctx, src.ID, vvol.SnapshotSpec{})
	require.NoError(t, err)
	l.write(src.ID, 0, 'a')
	g := &gate{make(chan struct{}), make(chan struct{})}
	l.engine.gate.Store(g)
	answer := make(chan wire.TaskInfo)
	go func() {
		r, err := vasatest.Do[wire.CopyDiffsToVirtualVolumeResponse](ctx, c, &wire.CopyDiffsToVirtualVolume{SrcVVolID: src.ID.String(), SrcBaseVVolID: base.ID.String(),
			DstVVolID: l.create("dst", 8).ID.String()})
		assert.NoError(t, err)
		answer <- r.Return
	}()
	<-g.at
	task := <-answer
	require.Equal(t, wire.TaskStateRunning, task.TaskState)
	require.True(t, task.Cancelable)
	tasks, err = vasatest.Do[wire.GetCurrentTaskResponse](ctx, c, &wire.GetCurrentTask{ArrayID: new(l.arrayID())})
	require.NoError(t, err)
	require.Equal(t, []wire.TaskInfo{task}, tasks.Return)
	_, err = c.Call(ctx, &wire.CancelTask{TaskID: task.TaskID})
	require.NoError(t, err)
	close(g.on)
	for task.TaskState == wire.TaskStateRunning {
		u, err := vasatest.Do[wire.GetTaskUpdateResponse](ctx, c, &wire.GetTaskUpdate{TaskID: task.TaskID})
		require.NoError(t, err)
		task = u.Return
	}
	require.Equal(t, wire.TaskStateError, task.TaskState)
	require.True(t, task.Cancelled)
	require.Equal(t, &wire.StorageFault{}, task.Error)
	l.fault(c, "NotCancellable", &wire.CancelTask{TaskID: task.TaskID})
	l.fault(c, "NotFound", &wire.CancelTask{TaskID: "nothing:9"})
	l.fault(c, "InvalidArgument", &wire.CancelTask{})
	require.NoError(t, l.service.Check(ctx))
}

// TestTaskProgress: a copy that runs tells how far it is, in every answer more, until it has
// ended.
func TestTaskProgress(t *testing.T) {
	ctx, l := t.Context(), newLab(t, nil)
	c := l.host("a")
	src := l.create("src", 8)
	base, err := l.service.Snapshot(ctx, src.ID, vvol.SnapshotSpec{})
	require.NoError(t, err)
	for _, quarter := range []uint64{1, 2, 3} { // three ranges to copy
		l.write(src.ID, quarter*2*mib, 'a')
	}
	g := &gate{make(chan struct{}), make(chan struct{})}
	l.engine.gate.Store(g)
	answer, dst := make(chan wire.TaskInfo), l.create("dst", 8).ID.String()
	go func() {
		r, err := vasatest.Do[wire.CopyDiffsToVirtualVolumeResponse](ctx, c, &wire.CopyDiffsToVirtualVolume{SrcVVolID: src.ID.String(), SrcBaseVVolID: base.ID.String(),
			DstVVolID: dst})
		assert.NoError(t, err)
		answer <- r.Return
	}()
	<-g.at
	task := <-answer
	for i, want := range []int32{0, 24, 49} { // of 8 MiB, by the end of what was copied, and 99 at most
		if i > 0 {
			g.on <- struct{}{}
			<-g.at
		}
		u, err := vasatest.Do[wire.GetTaskUpdateResponse](ctx, c, &wire.GetTaskUpdate{TaskID: task.TaskID})
		require.NoError(t, err)
		require.Equal(t, wire.TaskStateRunning, u.Return.TaskState)
		require.EqualValues(t, want, u.Return.Progress, "before range %d", i)
		current, err := vasatest.Do[wire.GetCurrentTaskResponse](ctx, c, &wire.GetCurrentTask{})
		require.NoError(t, err)
		require.Equal(t, []wire.TaskInfo{u.Return}, current.Return)
	}
	close(g.on)
	for task.TaskState == wire.TaskStateRunning {
		u, err := vasatest.Do[wire.GetTaskUpdateResponse](ctx, c, &wire.GetTaskUpdate{TaskID: task.TaskID})
		require.NoError(t, err)
		task = u.Return
	}
	require.Equal(t, wire.TaskStateSuccess, task.TaskState)
	require.EqualValues(t, 100, task.Progress)
}
