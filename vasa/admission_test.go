package vasa

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/vasatest"
	"vvsim/vasa/wire"
)

// dial opens a connection to the provider with a certificate, or none.
func (l *lab) dial(cert *tls.Certificate) *tls.Conn {
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
	if cert != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	c, err := tls.Dial("tcp", l.server.Listener.Addr().String(), config)
	require.NoError(l.t, err)
	l.t.Cleanup(func() { _ = c.Close() })
	require.NoError(l.t, c.SetDeadline(time.Now().Add(time.Minute)))
	return c
}

const postHead = "POST " + ServicePath + " HTTP/1.1\r\nHost: lab\r\nContent-Type: text/xml\r\nSOAPAction: urn:queryCACertificates\r\n"

// answerOn reads an answer from a connection, with its body.
func answerOn(t *testing.T, c *tls.Conn) (*http.Response, string) {
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp, string(body)
}

// idle waits until no request holds anything: handlers end after their answers.
func (l *lab) idle() {
	for l.strangers.Used() > 0 || l.bytes.Used() > 0 {
		require.NoError(l.t, l.t.Context().Err())
		runtime.Gosched()
	}
}

// TestStrangerBody: without a trusted certificate a body is short, and registrations fit.
func TestStrangerBody(t *testing.T) {
	l := newLab(t, nil)
	stranger := l.client(nil, wire.SOAP11)
	roots := []string{}
	for i := range 48 {
		a, err := vasatest.NewAuthority(fmt.Sprint("CA ", i))
		require.NoError(t, err)
		roots = append(roots, a.PEM())
	}
	_, err := stranger.Call(t.Context(), &wire.RegisterCACertificatesAndCRLs{ProviderUserName: "vasa", ProviderPassword: "secret-of-the-lab", CARootCert: roots})
	require.NoError(t, err)
	long := append([]byte(setTask("x")), bytes.Repeat([]byte(" "), maxStrangerBody)...)
	for range 2 * maxStrangersPerHost { // none of them stays counted
		c := l.dial(nil)
		_, err = fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n", postHead, len(long))
		require.NoError(t, err)
		resp, _ := answerOn(t, c) // nothing of it was read
		require.Equal(t, http.StatusRequestEntityTooLarge, resp.StatusCode)
	}
	trusted := l.vcenter("vc")
	answer, status, err := trusted.Post(t.Context(), "urn:getTaskUpdate", long)
	require.NoError(t, err)
	require.Equal(t, http.StatusInternalServerError, status)
	require.Contains(t, string(answer), "NotFound", "read and understood")
	l.idle()
}

// TestSlowStranger has so much time for its body, and what it holds is free then.
func TestSlowStranger(t *testing.T) {
	l := newLab(t, func(o *Options) { o.Limits.StrangerTime = 20 * time.Millisecond })
	for _, head := range []string{"Content-Length: 1000\r\n\r\n<a>", "Transfer-Encoding: chunked\r\n\r\n3\r\n<a>\r\n"} {
		c := l.dial(nil)
		_, err := io.WriteString(c, postHead+head)
		require.NoError(t, err)
		resp, _ := answerOn(t, c)
		require.Equal(t, http.StatusRequestTimeout, resp.StatusCode)
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, "the connection is closed")
	}
	l.idle()
}

// TestHeldBodies: strangers who send slowly, however many, leave room for those who are
// trusted; a client that does so leaves room for others; and more is refused with a fault.
func TestHeldBodies(t *testing.T) {
	l := newLab(t, func(o *Options) { o.Limits.PerSession = 2 })
	vc := l.vcenter("vc")
	l.idle()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	slow := func(send func(body io.Reader)) {
		r, w := io.Pipe()
		go func() { send(r); ended <- struct{}{} }()
		_, err := io.WriteString(w, "<a>")
		require.NoError(t, err)
		context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })
	}
	plain := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}}}
	post := func(r io.Reader) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.server.URL+ServicePath, r)
		if err != nil {
			t.Error(err)
			return
		}
		if resp, err := plain.Do(req); err == nil {
			_ = resp.Body.Close()
		}
	}
	for range maxStrangersPerHost {
		slow(post)
	}
	for l.strangers.Used() < maxStrangersPerHost { // they are on their way
		runtime.Gosched()
	}
	l.fault(l.client(nil, wire.SOAP11), "VasaProviderBusy", &wire.RequestCSR{})
	l.fault(l.client(nil, wire.SOAP11), "StorageFault", &wire.SetContext{}) // does not declare the other
	answer, status, err := l.client(nil, wire.SOAP12).Post(t.Context(), "", []byte(setTask("x")))
	require.NoError(t, err)
	require.Equal(t, http.StatusInternalServerError, status)
	require.Contains(t, string(answer), "StorageFault")
	_, err = vc.Call(t.Context(), &wire.QueryCACertificates{})
	require.NoError(t, err)
	cancel()
	for range maxStrangersPerHost {
		<-ended
	}
	plain.CloseIdleConnections()
	l.idle()

	certificate := l.Sessions()[0].Certificate
	require.True(t, l.bytes.Take(certificate, maxHeldBytesPerHolder))
	l.fault(vc, "VasaProviderBusy", &wire.QueryCACertificateRevocationLists{})
	l.bytes.Give(certificate, maxHeldBytesPerHolder)
	_, err = vc.Call(t.Context(), &wire.QueryCACertificateRevocationLists{})
	require.NoError(t, err)
}

// TestWays of HTTP that clients may take.
func TestWays(t *testing.T) {
	l := newLab(t, nil)
	cert, err := l.vmca.Issue("vc", nil)
	require.NoError(t, err)
	l.registered()
	c := l.dial(cert)
	set, err := wire.EncodeRequest(wire.SOAP11, &wire.SetContext{UsageContext: &wire.UsageContext{VCGUID: new("vc")}})
	require.NoError(t, err)
	chunks := fmt.Sprintf("%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", 10, set[:10], len(set)-10, set[10:])
	head := strings.Replace(postHead, "queryCACertificates", "setContext", 1)
	_, err = io.WriteString(c, head+"Transfer-Encoding: chunked\r\n\r\n"+chunks)
	require.NoError(t, err)
	resp, body := answerOn(t, c)
	require.Equal(t, http.StatusOK, resp.StatusCode, body)
	cookie := resp.Cookies()[0].Name + "=" + resp.Cookies()[0].Value

	get := strings.Replace(postHead, "urn:queryCACertificates", `"urn:queryCACertificates"`, 1) + "Cookie: " + cookie + "\r\n"
	empty := fmt.Sprintf(soap11, "")
	one := fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", get, len(empty), empty)
	_, err = io.WriteString(c, one+one+one) // pipelined
	require.NoError(t, err)
	in := bufio.NewReader(c)
	for range 3 {
		resp, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode, "%s", b)
	}
	for _, kind := range []string{"application/json", "nonsense; ;", "", "multipart/form-data", "text/xml; charset=utf-16"} {
		_, err = io.WriteString(c, strings.Replace(one, "text/xml", kind, 1))
		require.NoError(t, err)
		resp, body := answerOn(t, c)
		require.Equal(t, http.StatusOK, resp.StatusCode, "%s: %s", kind, body)
	}
	_, err = io.WriteString(c, strings.Replace(one, "HTTP/1.1", "HTTP/1.0", 1))
	require.NoError(t, err)
	resp, body = answerOn(t, c)
	require.Equal(t, http.StatusOK, resp.StatusCode, body)
	_, err = c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)

	foreign, err := l.vmca.Issue("somebody else", nil)
	require.NoError(t, err)
	for name, x := range map[string]struct {
		cert   *tls.Certificate
		cookie string
	}{
		"no certificate": {nil, cookie}, "another's cookie": {foreign, cookie}, "guessed": {cert, cookieName + "=" + strings.Repeat("a", 32)},
		"none": {cert, "x=y"}, "zero": {cert, cookieName + "=0"}, "huge": {cert, cookieName + "=" + strings.Repeat("a", 10000)},
	} {
		c := l.dial(x.cert)
		_, err = io.WriteString(c, strings.Replace(one, cookie, x.cookie, 1))
		require.NoError(t, err)
		resp, body := answerOn(t, c)
		require.Equal(t, http.StatusInternalServerError, resp.StatusCode, name)
		require.Contains(t, body, "InvalidSession", name)
	}
}

// TestTrustEnds within a connection: the next request of it is refused.
func TestTrustEnds(t *testing.T) {
	l := newLab(t, nil)
	c := l.vcenter("vc")
	_, err := c.Call(t.Context(), &wire.QueryCACertificates{})
	require.NoError(t, err)
	other, err := vasatest.NewAuthority("other")
	require.NoError(t, err)
	_, err = c.Call(t.Context(), &wire.RefreshCACertificatesAndCRLs{CARootCert: []string{other.PEM()}})
	require.NoError(t, err)
	l.fault(c, "InvalidSession", &wire.QueryCACertificates{})

	l.registered()
	c = l.vcenter("vc")
	l.passes(100 * 365 * 24 * time.Hour)
	l.fault(c, "InvalidSession", &wire.SetContext{UsageContext: &wire.UsageContext{VCGUID: new("vc")}})
}

// TestUsageContext of any size.
func TestUsageContext(t *testing.T) {
	l := newLab(t, func(o *Options) { o.Limits.Names = 20 })
	c := l.issued("host")
	hosts, open := len(l.service.Hosts()), func() int { return len(l.Sessions()) }
	usage := func(n int) *wire.UsageContext {
		u := &wire.UsageContext{HostGUID: new("host")}
		for i := range n {
			u.HostInitiator = append(u.HostInitiator, wire.HostInitiatorInfo{ISCSIIdentifier: new(fmt.Sprint("iqn.2026-11.x:", i))})
		}
		return u
	}
	l.fault(c, "InvalidArgument", &wire.SetContext{UsageContext: usage(10_000)})
	l.fault(c, "InvalidArgument", &wire.SetContext{UsageContext: &wire.UsageContext{VCGUID: new("vc"), CHAPUsername: make([]string, 10_000)}})
	bad := usage(3)
	bad.HostInitiator[2].ISCSIIdentifier = new("no iSCSI name")
	l.fault(c, "InvalidArgument", &wire.SetContext{UsageContext: bad})
	bad.HostInitiator[2].ISCSIIdentifier = new("iqn." + strings.Repeat("x", 1<<20))
	l.fault(c, "InvalidArgument", &wire.SetContext{UsageContext: bad})
	l.fault(c, "StorageFault", &wire.SetContext{UsageContext: usage(20)}) // and the GUID: 21 names
	require.Len(t, l.service.Hosts(), hosts, "nothing was noted")
	require.Zero(t, open())
	_, err := c.Call(t.Context(), &wire.SetContext{UsageContext: usage(19)})
	require.NoError(t, err)
	bad = usage(1)
	bad.HostGUID = new("another")
	l.fault(c, "StorageFault", &wire.SetContext{UsageContext: bad})
	require.Equal(t, 1, open(), "the session goes on")
	_, err = c.Call(t.Context(), &wire.QueryCACertificates{})
	require.NoError(t, err)
}
