package door

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestQuota(t *testing.T) {
	q := NewQuota(10, 6)
	require.True(t, q.Take("a", 6))
	require.False(t, q.Take("a", 1), "a part is kept from any one")
	require.True(t, q.Take("b", 4))
	require.False(t, q.Take("c", 1), "all are held")
	q.Give("a", 6)
	require.True(t, q.Take("c", 6))
	q.Charge("c", 100)
	require.False(t, q.Take("a", 1))
	q.Give("c", 106)
	q.Give("b", 4)
	require.Zero(t, q.Used())
	require.Empty(t, q.held, "holders are forgotten")
}

func TestReadBody(t *testing.T) {
	const limit = 100 << 10
	for _, n := range []int{0, 1, firstBytes - 1, firstBytes, firstBytes + 1, limit - 1, limit, limit + 1, 2 * limit} {
		q := NewQuota(1<<20, 1<<20)
		sent := bytes.Repeat([]byte("x"), n)
		b, err := ReadBody(iotest.OneByteReader(bytes.NewReader(sent)), limit, q, "a")
		if n > limit {
			require.ErrorIs(t, err, ErrLarge)
		} else {
			require.NoError(t, err)
			require.Equal(t, sent, append([]byte{}, b.Bytes...))
		}
		require.LessOrEqual(t, q.Used(), int64(max(firstBytes, min(2*n, limit+1))), "%d bytes came", n)
		b.Release()
		b.Release()
		require.Zero(t, q.Used())
	}
	broken := errors.New("broken")
	q := NewQuota(20<<10, 20<<10)
	b, err := ReadBody(io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken)), limit, q, "a")
	require.ErrorIs(t, err, broken)
	b.Release()
	b, err = ReadBody(iotest.ErrReader(io.ErrUnexpectedEOF), limit, q, "a")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF, "truncated is not ended")
	b.Release()
	b, err = ReadBody(bytes.NewReader(make([]byte, limit)), limit, q, "a")
	require.ErrorIs(t, err, ErrBusy)
	b.Release()
	require.Zero(t, q.Used())
}

// TestListener: any number of connections that ask nothing, within TLS or before it, do
// not lock out one that does.
func TestListener(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := Limit(inner, 4, 4)
	held, release := make(chan struct{}), make(chan struct{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			held <- struct{}{}
			<-release
		}
	}))
	require.NoError(t, s.Listener.Close())
	s.Listener, s.Config.ConnState = l, l.State
	s.StartTLS()
	defer s.Close()
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
	get := func(path string) error {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
		resp, err := c.Get(s.URL + path)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	gone := func(c net.Conn) {
		require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
		_, err := io.Copy(io.Discard, c)
		var timeout net.Error
		require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "it is open")
	}
	var conns []net.Conn
	for i := range 12 {
		c, err := net.Dial("tcp", inner.Addr().String())
		require.NoError(t, err)
		defer c.Close()
		if i%2 == 0 {
			require.NoError(t, tls.Client(c, config).HandshakeContext(t.Context()))
		}
		conns = append(conns, c)
	}
	require.NoError(t, get("/"))
	for _, c := range conns[:8] {
		gone(c)
	}
	ended := make(chan error, 4)
	for range 4 {
		go func() { ended <- get("/held") }()
		<-held
	}
	open, _ := l.Open()
	require.Equal(t, 4, open)
	require.Error(t, get("/"), "all are served")
	open, refused := l.Open()
	require.Equal(t, 4, open)
	require.NotZero(t, refused)
	close(release)
	for range 4 {
		require.NoError(t, <-ended, "requests were not cut off")
	}
	require.NoError(t, get("/"))
}

// TestListenerAddress: one address cannot take the places of others.
func TestListenerAddress(t *testing.T) {
	l := Limit(nil, 4, 2)
	at := func(host string) *conn { return &conn{Conn: &net.TCPConn{}, l: l, host: host} }
	a, b := at("a"), at("b")
	for _, c := range []*conn{b, a, at("a")} {
		victim, ok := l.admit(c)
		require.True(t, ok)
		require.Nil(t, victim)
	}
	victim, ok := l.admit(at("a"))
	require.True(t, ok)
	require.Same(t, a, victim, "not b, which is older")
	for c := range l.conns {
		l.State(c, http.StateActive)
	}
	_, ok = l.admit(at("a"))
	require.False(t, ok)
	_, ok = l.admit(at("c"))
	require.True(t, ok)
	_, ok = l.admit(at("d"))
	require.True(t, ok, "in the place of c, which asked nothing")
}
