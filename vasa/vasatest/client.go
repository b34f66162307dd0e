package vasatest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"vvsim/vasa/wire"
)

// Options of a Client.
type Options struct {
	URL         string           // of the SOAP service
	Certificate *tls.Certificate // nil: none is presented
	Roots       *x509.CertPool   // that verify the provider; nil: any certificate is taken
	Version     wire.Version
	Timeout     time.Duration // of one call; default DefaultTimeout
	// Dial, if set, connects, as over a network in memory.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Seen, if set, is given each exchange.
	Seen func(Exchange)
}

// DefaultTimeout bounds a call.
const DefaultTimeout = time.Minute

// Exchange is one call as it travelled.
type Exchange struct {
	Operation string
	Request   []byte
	Response  []byte
	Status    int
	Took      time.Duration
	Err       error // the fault, or why there was no answer
}

// Client calls a provider.
type Client struct {
	o    Options
	http *http.Client
}

// New makes a client. Close ends its connections.
func New(o Options) (*Client, error) {
	if _, err := url.Parse(o.URL); err != nil {
		return nil, err
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.Roots, InsecureSkipVerify: o.Roots == nil}
	if o.Certificate != nil {
		// Hosts send their certificate whatever issuers the provider names.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return o.Certificate, nil }
	}
	return &Client{o: o, http: &http.Client{Jar: jar, Timeout: o.Timeout, Transport: &http.Transport{DialContext: o.Dial, TLSClientConfig: c, MaxIdleConnsPerHost: 8},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Call sends a request, a pointer to a struct of package wire, and reads its response: a
// pointer to a struct too, or nil if the operation has none. A fault is a *wire.SOAPFault.
func (c *Client) Call(ctx context.Context, request any) (response any, err error) {
	op := wire.OperationOf(request)
	if op == nil {
		return nil, fmt.Errorf("%T is not a request", request)
	}
	x := Exchange{Operation: op.Name}
	if x.Request, err = wire.EncodeRequest(c.o.Version, request); err != nil {
		return nil, err
	}
	began := time.Now()
	x.Response, x.Status, err = c.Post(ctx, op.Action(), x.Request)
	x.Took = time.Since(began)
	if err == nil {
		var r *wire.Response
		r, err = wire.DecodeResponse(x.Response, op, wire.Options{Strict: true})
		if _, fault := errors.AsType[*wire.SOAPFault](err); err != nil && !fault {
			err = fmt.Errorf("%s: HTTP %d: %w", op.Name, x.Status, err)
		}
		response = r.Value
	}
	if x.Err = err; c.o.Seen != nil {
		c.o.Seen(x)
	}
	return response, err
}

// maxResponse bounds what a provider may answer, in bytes.
const maxResponse = 64 << 20

// Post sends a body as it is, and gives the answer as it came.
func (c *Client) Post(ctx context.Context, action string, body []byte) (answer []byte, status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.o.URL, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	if c.o.Version == wire.SOAP12 {
		r.Header.Set("Content-Type", c.o.Version.ContentType()+`; action="`+action+`"`)
	} else {
		r.Header.Set("Content-Type", c.o.Version.ContentType())
		r.Header.Set("SOAPAction", `"`+action+`"`)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxResponse))
	return answer, resp.StatusCode, err
}

// Get fetches a path or URL of the provider.
func (c *Client) Get(ctx context.Context, ref string) (body []byte, header http.Header, err error) {
	base, err := url.Parse(c.o.URL)
	if err != nil {
		return nil, nil, err
	}
	u, err := base.Parse(ref)
	if err != nil {
		return nil, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxResponse))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", u, resp.Status, strings.TrimSpace(string(body)))
	}
	return body, resp.Header, err
}

// Do is Call with the response's type: Do[wire.QueryArraysResponse](ctx, c, &wire.QueryArrays{}).
func Do[R any](ctx context.Context, c *Client, request any) (*R, error) {
	v, err := c.Call(ctx, request)
	if err != nil {
		return nil, err
	}
	r, ok := v.(*R)
	if !ok {
		return nil, fmt.Errorf("the response to %T is a %T, not a %T", request, v, r)
	}
	return r, nil
}

// Fault is the name of the fault that err is, "" if it is none.
func Fault(err error) string {
	if f, ok := errors.AsType[*wire.SOAPFault](err); ok {
		if f.Detail != nil {
			return wire.FaultName(f.Detail)
		}
		return string(f.Code)
	}
	return ""
}

// forget drops the cookies, and with them the session.
func (c *Client) forget() error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	c.http.Jar = jar
	return nil
}
