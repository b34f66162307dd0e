package vasa

import (
	"context"
	"errors"
	"net/http"

	"vvsim/vasa/session"
	"vvsim/vasa/trace"
	"vvsim/vasa/trust"
	"vvsim/vasa/wire"
)

// cookieName carries the session's id (vasa.md 1.4).
const cookieName = "VASASESSIONID"

// caller is who sent a request.
type caller struct {
	request     string // id of the request
	operation   string // once it is known and admitted
	remote      string
	identity    trust.Identity // of the client certificate, if trusted
	untrusted   error          // why it is not
	certificate string         // fingerprint of a trusted one
	session     *session.Session
	cookie      *string // to set with the answer; nil: none
}

type callerKey struct{}

func (c *caller) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// name of the caller in logs and traces.
func (c *caller) name() string {
	if c.session == nil {
		return ""
	}
	return c.session.Client.Key()
}

// entry of the trace.
func (c *caller) entry(kind, text string) trace.Entry {
	return trace.Entry{Kind: kind, Client: c.name(), Stranger: c.untrusted != nil, Request: c.request, Text: text}
}

// client of the session; operations that need one have it.
func (c *caller) client() *session.Client { return c.session.Client }

// setCookie lets the answer carry a session's id, session.NoID for none.
func (c *caller) setCookie(id string) { c.cookie = &id }

// identify looks at the certificate and the cookie of a request.
func (p *Provider) identify(r *http.Request, id string) *caller {
	c := &caller{request: id, remote: r.RemoteAddr}
	if r.TLS == nil {
		c.untrusted = errors.New("the connection has no TLS")
		return c
	}
	if c.identity, c.untrusted = p.o.Trust.Verify(r.TLS.PeerCertificates); c.untrusted != nil {
		return c
	}
	c.certificate = c.identity.Fingerprint
	for _, cookie := range r.CookiesNamed(cookieName) {
		if s, err := p.sessions.Find(cookie.Value, c.certificate); err == nil {
			c.session = s
			c.setCookie(s.ID) // both known providers send it again (vasa.md 1.4)
			break
		}
	}
	return c
}

// admit tells whether the caller has what an operation needs. Nothing but InvalidSession
// says otherwise (vasa.md 1.5).
func (p *Provider) admit(c *caller, h handler) error {
	if h.need == needNothing {
		return nil
	}
	if c.untrusted != nil {
		return refuse(&wire.InvalidSession{}, "the client certificate is not trusted: %v", c.untrusted)
	}
	if h.need == needSession && c.session == nil {
		return refuse(&wire.InvalidSession{}, "no session: setContext makes one")
	}
	return nil
}
