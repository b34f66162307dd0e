package vasa

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"time"

	"vvsim/vasa/door"
	"vvsim/vasa/wire"
)

// Bounds of what requests hold before they are understood. A stranger is a caller without
// a trusted certificate: the bootstrap (vasa.md 1.4), or anybody.
const (
	maxStrangerBody     = 1 << 20 // bytes: dozens of roots and some revocation lists
	maxStrangers        = 16      // requests at a time
	maxStrangersPerHost = 8       // of them, from one address

	maxHeldBytes          = 64 << 20 // of requests that are read or run, and of answers that are sent
	maxHeldBytesPerHolder = 24 << 20 // of them, by one certificate, or by strangers of one address
)

// holder names who is charged for what a caller holds.
func (c *caller) holder() string {
	if c.untrusted != nil {
		return "address " + door.Host(c.remote)
	}
	return c.certificate
}

// enter lets a caller's request in before its body is read. leave ends what it began.
func (p *Provider) enter(c *caller) (leave func(), err error) {
	switch s := c.session; {
	case c.untrusted != nil:
		if !p.strangers.Take(c.holder(), 1) {
			return nil, refuse(&wire.VasaProviderBusy{}, "too many requests without a trusted certificate run already")
		}
		return func() { p.strangers.Give(c.holder(), 1) }, nil
	case s != nil:
		if !s.Enter() {
			return nil, refuse(&wire.VasaProviderBusy{}, "%d requests of this session run already", p.o.Limits.PerSession)
		}
		return s.Leave, nil
	}
	return func() {}, nil
}

// readBody reads a request's body, as much and as long as its caller may send. The body is
// to be released, also after an error.
func (p *Provider) readBody(w http.ResponseWriter, r *http.Request, c *caller) (*door.Body, error) {
	limit := int64(wire.MaxBody)
	timer := http.NewResponseController(w)
	if c.untrusted != nil {
		limit = maxStrangerBody
		_ = timer.SetReadDeadline(time.Now().Add(p.o.Limits.StrangerTime)) // where that is not possible the server's own stays
	}
	if r.ContentLength > limit {
		return &door.Body{}, door.ErrLarge
	}
	b, err := door.ReadBody(r.Body, limit, p.bytes, c.holder())
	if err == nil {
		_ = timer.SetReadDeadline(time.Time{}) // the time to send is not the time to answer
	}
	if errors.Is(err, door.ErrBusy) {
		err = refuse(&wire.VasaProviderBusy{}, "%v", err)
	}
	return b, err
}

// understand decodes a body and has its operation answer it. The request is never nil.
func (p *Provider) understand(r *http.Request, c *caller, body []byte) (req *wire.Request, resp any, err error) {
	req = unread(r)
	select {
	case p.running <- struct{}{}:
		defer func() { <-p.running }()
	default:
		return req, nil, p.busy(req, "%d requests run already", p.o.Limits.Requests)
	}
	defer func() { p.survive(c, recover(), &err) }()
	known, bad := wire.DecodeRequest(body, action(r), wire.Options{Strict: p.o.Knobs().Strict})
	req = known
	resp, err = p.answer(r, c, req, bad)
	p.traceRequest(r, c, req, bad)
	return req, resp, err
}

func action(r *http.Request) string {
	return wire.Action(r.Header.Get("SOAPAction"), r.Header.Get("Content-Type"))
}

// unread is what the headers tell of a request whose body was not read.
func unread(r *http.Request) *wire.Request {
	req := &wire.Request{}
	req.Operation, _ = wire.LookupAction(action(r))
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/soap+xml") {
		req.Version = wire.SOAP12
	}
	return req
}

// busy is VasaProviderBusy, and StorageFault as long as the operation is not known.
func (p *Provider) busy(req *wire.Request, format string, args ...any) error {
	if req.Operation == nil {
		return refuse(&wire.StorageFault{FaultMessageID: new(storageFaultMessage)}, format, args...)
	}
	return refuse(&wire.VasaProviderBusy{}, format, args...)
}

// turnAway answers a request that was not let in, or whose body did not come.
func (p *Provider) turnAway(w http.ResponseWriter, r *http.Request, c *caller, began time.Time, err error) {
	if _, ours := errors.AsType[*faultError](err); ours {
		req := unread(r)
		p.reply(w, c, req, nil, p.busy(req, "%v", err), began)
		return
	}
	status := http.StatusBadRequest
	switch {
	case errors.Is(err, door.ErrLarge):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		status = http.StatusRequestTimeout
	}
	w.Header().Set("Connection", "close") // the rest of the body is of no use
	http.Error(w, err.Error()+" (request "+c.request+")", status)
	p.called(Call{ID: c.request, Client: c.name(), Remote: c.remote, Outcome: http.StatusText(status), Detail: err.Error(), Took: p.o.Clock().Sub(began)})
}
