package vasa

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"runtime/debug"
	"strings"
	"time"

	"vvsim/vasa/trace"
	"vvsim/vasa/wire"
)

// Handler serves version.xml, the SOAP service and the message catalogs. It belongs
// behind a listener with trust.Store's TLS configuration, and a http.Server with
// time-outs for slow clients.
func (p *Provider) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+VersionPath, p.serveVersion)
	mux.HandleFunc("GET /version.xml", p.serveVersion)
	mux.HandleFunc("GET "+CatalogPath+"{locale}/{file}", p.serveCatalog)
	mux.HandleFunc("POST "+ServicePath, p.serveSOAP)
	return mux
}

// versionForms are the candidates for version.xml (vasa.md 1.1).
var versionForms = map[VersionForm]string{
	FormAttribute: `  <version id="2.0" serviceLocation="` + ServicePath + `"/>`,
	FormElement:   `  <version id="2.0"><serviceLocation>` + ServicePath + `</serviceLocation></version>`,
}

func (p *Provider) serveVersion(w http.ResponseWriter, r *http.Request) {
	c := p.identify(r, p.requestID())
	p.traceHeaders(c.entry(kindVersion, ""), r)
	body := p.o.VersionXML
	if body == nil {
		form, ok := versionForms[p.o.Knobs().VersionForm]
		if !ok {
			form = versionForms[FormAttribute]
		}
		body = []byte(`<?xml version="1.0" encoding="UTF-8"?>` + "\n<supportedVersions>\n" + form + "\n</supportedVersions>\n")
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	_, _ = w.Write(body) // the client may have gone
	p.called(Call{ID: c.request, Operation: "GET " + r.URL.Path, Client: c.name(), Remote: c.remote, Outcome: "ok"})
}

// Kinds of the trace that are more than a name.
const (
	kindVersion = "version.xml"
	kindOrder   = "order" // which operation follows which in a session
)

// openArguments are those of which nobody knows what clients do with them (vasa.md 13).
var openArguments = []string{"ContainerCookie", "SnapType"}

// traceHeaders notes headers that no reference tells of; of version.xml, that it was asked for.
func (p *Provider) traceHeaders(e trace.Entry, r *http.Request) {
	if text := trace.Headers(r, e.Kind == kindVersion); text != "" {
		e.Text = text
		p.trace.Add(p.o.Clock(), e)
	}
}

// serveSOAP answers one request. Who calls is looked at before what is said.
func (p *Provider) serveSOAP(w http.ResponseWriter, r *http.Request) {
	began := p.o.Clock()
	c := p.identify(r, p.requestID())
	leave, err := p.enter(c)
	if err != nil {
		p.turnAway(w, r, c, began, err)
		return
	}
	defer leave()
	body, err := p.readBody(w, r, c)
	defer body.Release()
	if err != nil {
		p.turnAway(w, r, c, began, err)
		return
	}
	req, resp, err := p.understand(r, c, body.Bytes)
	body.Release()
	p.reply(w, c, req, resp, err, began)
}

// reply sends the answer: a response, or the fault of err.
func (p *Provider) reply(w http.ResponseWriter, c *caller, req *wire.Request, resp any, err error, began time.Time) {
	call := Call{ID: c.request, Client: c.name(), Remote: c.remote, Outcome: "ok"}
	if req.Operation != nil {
		call.Operation = req.Operation.Name
	}
	if errors.Is(err, ErrSilence) && hangUp(w) {
		call.Outcome, call.Took = "no answer", p.o.Clock().Sub(began)
		p.called(call)
		return
	}
	status, out := http.StatusOK, []byte(nil)
	if err == nil {
		out, err = wire.EncodeResponse(req.Version, req.Operation, resp)
	}
	if err != nil {
		fault := soapFault(req.Operation, err, c.request)
		call.Outcome, call.Detail = string(fault.Code), shortened(err.Error())
		if fault.Detail != nil {
			call.Outcome = wire.FaultName(fault.Detail)
		}
		status = http.StatusInternalServerError // SOAP 1.1 6.2, and 1.2 for Receiver
		if fault.Detail == nil || req.Version == wire.SOAP12 && fault.Code == wire.CodeSender {
			status = http.StatusBadRequest // no request of the contract; and SOAP 1.2 part 2, table 20
		}
		if out, err = wire.EncodeFault(req.Version, fault); err != nil {
			http.Error(w, "fault without envelope", http.StatusBadRequest) // cannot happen: faults have no bad values
			return
		}
	}
	h := w.Header()
	h.Set("Content-Type", req.Version.ContentType())
	h.Set("Content-Length", fmt.Sprint(len(out)))
	if c.cookie != nil {
		http.SetCookie(w, &http.Cookie{Name: cookieName, Value: *c.cookie, Path: "/", Secure: true, HttpOnly: true})
	}
	p.bytes.Charge(c.holder(), int64(len(out)))
	w.WriteHeader(status)
	_, _ = w.Write(out) // the client may have gone
	p.bytes.Give(c.holder(), int64(len(out)))
	call.Took = p.o.Clock().Sub(began)
	p.called(call)
}

// hangUp closes the connection of a request; false where it carries others, as HTTP/2 does.
func hangUp(w http.ResponseWriter) bool {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return false
	}
	_ = conn.Close() // nothing is to come over it
	return true
}

// answer admits a request and has its operation answer it.
func (p *Provider) answer(r *http.Request, c *caller, req *wire.Request, bad error) (resp any, err error) {
	if req.Operation == nil {
		return nil, bad
	}
	h, offered := p.handlers[req.Operation.Name]
	if offered {
		if err := p.admit(c, h); err != nil {
			return nil, err
		}
	}
	if bad != nil {
		return nil, bad
	}
	c.operation = req.Operation.Name
	p.keepUp()
	return p.invoker.Invoke(c.in(r.Context()), req.Operation.Name, req.Value)
}

// survive makes a panic of an operation, or of one item of a batch, its error. value is
// recover's.
func (p *Provider) survive(c *caller, value any, err *error) {
	if value == nil {
		return
	}
	*err = refuse(&wire.StorageFault{FaultMessageID: new(storageFaultMessage)}, "internal failure")
	if p.o.Events.Panic != nil {
		p.o.Events.Panic(Call{ID: c.request, Operation: c.operation, Client: c.name(), Remote: c.remote}, value, debug.Stack())
	}
}

// traceRequest notes what a request had that was not expected.
func (p *Provider) traceRequest(r *http.Request, c *caller, req *wire.Request, bad error) {
	e := c.entry("", "")
	if req.Operation != nil {
		e.Operation = req.Operation.Name
	}
	note := func(kind, text string) {
		e.Kind, e.Text = kind, text
		p.trace.Add(p.o.Clock(), e)
	}
	for _, f := range req.Findings {
		note(string(f.Kind), f.Path+" "+f.Name.Space+" "+f.Name.Local)
	}
	for _, h := range req.Headers {
		note("SOAP header", h.Name.Space+" "+h.Name.Local)
	}
	if bad != nil {
		note("refused", bad.Error())
	}
	if req.Value != nil {
		for _, name := range openArguments {
			if v := reflect.ValueOf(req.Value).Elem().FieldByName(name); v.IsValid() && !v.IsZero() {
				note(name, fmt.Sprint(reflect.Indirect(v).Interface()))
			}
		}
	}
	// One entry for each way of speaking, however many operations a client calls.
	e.Operation = ""
	note("SOAP", fmt.Sprintf("%v, Content-Type %q, SOAPAction quoted %t, present %t", req.Version, trace.MediaType(r), strings.HasPrefix(r.Header.Get("SOAPAction"), `"`),
		r.Header.Get("SOAPAction") != ""))
	if c.session != nil && req.Operation != nil {
		note(kindOrder, c.session.Follows(req.Operation.Name)+" → "+req.Operation.Name)
	}
	e.Kind = "HTTP header"
	p.traceHeaders(e, r)
}

func (p *Provider) called(c Call) {
	if p.o.Events.Called != nil {
		p.o.Events.Called(c)
	}
}
