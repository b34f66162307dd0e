package scenario

import (
	"bufio"
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vasa"
	"vvsim/vasa/wire"
)

// TestSlowClients: a client with a trusted certificate that stops in the midst of a handshake,
// a header or a body is let go at its limit (docs/vasa.md, Bounds), and others are served.
func TestSlowClients(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		s := newSite(l)
		cert, err := s.vmca.Issue("slow", nil)
		require.NoError(t, err)
		at, err := url.Parse(l.a.Ready().VASA.URL)
		require.NoError(t, err)
		const head = "POST " + vasa.ServicePath + " HTTP/1.1\r\nHost: lab\r\nContent-Type: text/xml\r\nSOAPAction: urn:queryArrays\r\n"
		for name, x := range map[string]struct {
			handshake bool
			send      string
			limit     time.Duration
			status    int
		}{
			"silence":        {false, "", time.Minute, 0},
			"nothing behind": {true, "", time.Minute, 0},
			"half a header":  {true, head, time.Minute, 0},
			"half a body":    {true, head + "Content-Length: 1000\r\n\r\n<a>", time.Minute, http.StatusRequestTimeout},
			"half a chunk":   {true, head + "Transfer-Encoding: chunked\r\n\r\nff\r\n<a>", time.Minute, http.StatusRequestTimeout},
		} {
			raw, err := l.network.DialNetwork(l.ctx, "tcp", at.Host)
			require.NoError(t, err)
			c, began := raw, time.Now()
			if x.handshake {
				c = tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12,
					GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }})
				_, err = io.WriteString(c, x.send)
				require.NoError(t, err)
				require.NoError(t, c.(*tls.Conn).HandshakeContext(l.ctx))
			}
			if x.status != 0 {
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				require.NoError(t, err, name)
				require.Equal(t, x.status, resp.StatusCode, name)
				require.NoError(t, resp.Body.Close())
			} else {
				_, err = c.Read(make([]byte, 1))
				require.Error(t, err, name)
			}
			require.Equal(t, x.limit, time.Since(began), name)
			require.NoError(t, raw.Close())
		}
		_, err = s.host("esx1").Call(l.ctx, &wire.QueryArrays{})
		require.NoError(t, err)
	})
}

// TestProviderPatience shows clients that are slow to shake hands and to ask, as on a busy machine,
// and are served.
func TestProviderPatience(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		address := strings.TrimSuffix(strings.TrimPrefix(l.a.Ready().VASA.URL, "https://"), vasa.VersionPath)
		slow, err := l.network.Dial(l.ctx, address)
		require.NoError(t, err)
		<-time.After(50 * time.Second) // by the clock of the bubble
		c := tls.Client(slow, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
		require.NoError(t, c.HandshakeContext(l.ctx), "50 s after it has connected")
		<-time.After(50 * time.Second)
		_, err = io.WriteString(c, "GET "+vasa.VersionPath+" HTTP/1.1\r\nHost: array\r\n\r\n")
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err, "50 s after the handshake")
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.NoError(t, resp.Body.Close())
		require.NoError(t, c.Close())
	})
}
