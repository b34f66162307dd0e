package scenario

import (
	"bufio"
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
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
			"silence":        {false, "", 10 * time.Second, 0},
			"nothing behind": {true, "", 10 * time.Second, 0},
			"half a header":  {true, head, 10 * time.Second, 0},
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
