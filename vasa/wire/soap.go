package wire

import (
	"encoding/xml"
	"errors"
	"reflect"
	"slices"
	"strings"

	"vvsim/vasa/wire/xsd"
)

// Version is a version of SOAP.
type Version int

// Versions. The zero value is SOAP 1.1, in which also those are answered whose version is
// not known.
const (
	SOAP11 Version = iota
	SOAP12
)

// Namespaces of envelopes.
const (
	soap11URI = "http://schemas.xmlsoap.org/soap/envelope/"
	soap12URI = "http://www.w3.org/2003/05/soap-envelope"
)

func (v Version) String() string {
	if v == SOAP12 {
		return "SOAP 1.2"
	}
	return "SOAP 1.1"
}

func (v Version) uri() string {
	if v == SOAP12 {
		return soap12URI
	}
	return soap11URI
}

// ContentType is the media type of messages of this version.
func (v Version) ContentType() string {
	if v == SOAP12 {
		return "application/soap+xml; charset=utf-8"
	}
	return "text/xml; charset=utf-8"
}

// Limits of header blocks.
const (
	// MaxHeaders is how many header blocks an envelope may have.
	MaxHeaders = 32
	// MaxHeaderText is how many bytes of a header block are kept.
	MaxHeaderText = 4 << 10
	// MaxReason is how many bytes of a fault's reason are kept.
	MaxReason = 16 << 10
	// maxCode is how many bytes of an unknown fault code are kept.
	maxCode = 64
)

// Kinds of errors and findings about envelopes, beside those of package xsd.
const (
	VersionMismatch xsd.Kind = "no SOAP envelope"
	MustUnderstand  xsd.Kind = "header that must be understood"
	NoOperation     xsd.Kind = "no such operation"
	ActionMismatch  xsd.Kind = "action of another operation" // always an error
	ActionSpelling  xsd.Kind = "action spelled otherwise"    // a finding
	EmptyBody       xsd.Kind = "empty body"                  // where a request or response is needed
)

// Names of package xsd that users of this one need.
type (
	// Error is why a message was refused.
	Error = xsd.Error
	// Finding is something in a message that was ignored.
	Finding = xsd.Finding
	// Raw is a value of xs:anyType of a type that is not in the contract.
	Raw = xsd.Raw
)

// MaxBody is the length in bytes of the longest message that is read.
const MaxBody = xsd.MaxBody

// Options of reading messages.
type Options struct {
	// Strict refuses what would otherwise be a finding.
	Strict bool
	// Understood are namespaces of header blocks whose mustUnderstand is fulfilled by
	// ignoring them.
	Understood []string
}

// Header is a header block. The contract has none, so they are kept for the trace alone.
type Header struct {
	Name           xml.Name
	MustUnderstand bool
	Text           string // as it came, up to MaxHeaderText; may hold credentials
}

// Request is a request that was read.
type Request struct {
	Version   Version
	Operation *Operation
	Headers   []Header
	Value     any // pointer to the struct of the operation
	Findings  []Finding
	More      int // findings that did not fit
}

// Response is a response that was read.
type Response struct {
	Version  Version
	Headers  []Header
	Value    any // pointer to the struct of the operation, nil if it has none
	Findings []Finding
	More     int // findings that did not fit
}

// DecodeRequest reads a request. The operation is that of the action, or of the body's
// element if the action names none. The request is never nil: its version, operation and
// findings are known as far as reading came, so that an error, an *Error, can be answered and
// traced.
func DecodeRequest(body []byte, action string, o Options) (*Request, error) {
	req := &Request{}
	e, err := open(body, o)
	if err != nil {
		return req, err
	}
	err = e.request(req, action)
	req.Version, req.Headers = e.version, e.headers
	req.Findings, req.More = e.r.Findings()
	return req, err
}

func (e *envelope) request(req *Request, action string) error {
	el, err := e.head()
	if err != nil {
		return err
	}
	op, exact := LookupAction(action)
	if op == nil && el != nil {
		op = Lookup(el.Name.Local)
	}
	req.Operation = op
	switch {
	case op == nil && el == nil:
		return &Error{Kind: NoOperation, Detail: "an empty body and no known action"}
	case op == nil:
		return &Error{Kind: NoOperation, Path: "Envelope/Body", Detail: "neither the action nor the element is known"}
	case !exact && action != "":
		if err := e.r.Find(ActionSpelling, xml.Name{Local: action}); err != nil {
			return err
		}
	}
	value := op.NewRequest()
	switch {
	case el == nil && op.EmptyRequest():
	case el == nil:
		return &Error{Kind: EmptyBody, Path: "Envelope/Body", Detail: op.Name + " needs an element"}
	case el.Name.Local != op.Name:
		return &Error{Kind: ActionMismatch, Path: "Envelope/Body", Detail: "the action is that of " + op.Name}
	case el.Name != op.element():
		return &Error{Kind: xsd.WrongNamespace, Path: "Envelope/Body/" + op.Name}
	case op.EmptyRequest():
		if err := e.r.Find(xsd.UnknownElement, el.Name); err != nil {
			return err
		}
	}
	if el != nil {
		if err := e.r.Decode(el, value); err != nil {
			return err
		}
	}
	if err := e.tail(); err != nil {
		return err
	}
	req.Value = value
	return nil
}

// DecodeResponse reads the response to an operation. If it is a fault the error is a
// *SOAPFault. The response is never nil.
func DecodeResponse(body []byte, op *Operation, o Options) (*Response, error) {
	resp := &Response{}
	e, err := open(body, o)
	if err != nil {
		return resp, err
	}
	err = e.response(resp, op)
	resp.Version, resp.Headers = e.version, e.headers
	resp.Findings, resp.More = e.r.Findings()
	return resp, err
}

func (e *envelope) response(resp *Response, op *Operation) error {
	el, err := e.head()
	if err != nil {
		return err
	}
	switch {
	case el == nil && op.Response == nil:
		return e.tail()
	case el == nil:
		return &Error{Kind: EmptyBody, Path: "Envelope/Body", Detail: op.Name + " needs a response"}
	case el.Name == xml.Name{Space: e.version.uri(), Local: "Fault"}:
		fault, err := e.fault()
		if err == nil {
			err = e.tail()
		}
		if err != nil {
			return err
		}
		return fault
	case el.Name != op.responseElement() || op.Response == nil:
		return &Error{Kind: xsd.UnknownElement, Path: "Envelope/Body", Detail: "not the response of " + op.Name}
	}
	value := reflect.New(op.Response).Interface()
	if err := e.r.Decode(el, value); err != nil {
		return err
	}
	if err := e.tail(); err != nil {
		return err
	}
	resp.Value = value
	return nil
}

// envelope is an envelope that is being read.
type envelope struct {
	r          *xsd.Reader
	version    Version
	understood []string
	headers    []Header
	open       int // elements to be ended: the envelope, and the body unless it is empty
}

func open(body []byte, o Options) (*envelope, error) {
	s, err := schema()
	if err != nil {
		return nil, err
	}
	r, err := s.NewReader(body, xsd.Options{Strict: o.Strict})
	if err != nil {
		return nil, err
	}
	return &envelope{r: r, understood: o.Understood}, nil
}

// head reads up to the element in the body, which is nil if the body is empty.
func (e *envelope) head() (*xsd.Element, error) {
	root, err := e.r.Root()
	if err != nil {
		return nil, err
	}
	switch root.Name {
	case xml.Name{Space: soap11URI, Local: "Envelope"}:
	case xml.Name{Space: soap12URI, Local: "Envelope"}:
		e.version = SOAP12
	default:
		return nil, &Error{Kind: VersionMismatch}
	}
	e.open = 1
	child, err := e.r.Child()
	if err != nil {
		return nil, err
	}
	if child != nil && child.Name == (xml.Name{Space: e.version.uri(), Local: "Header"}) {
		if err := e.header(); err != nil {
			return nil, err
		}
		if child, err = e.r.Child(); err != nil {
			return nil, err
		}
	}
	if child == nil || child.Name != (xml.Name{Space: e.version.uri(), Local: "Body"}) {
		return nil, &Error{Kind: xsd.Missing, Path: "Envelope/Body"}
	}
	el, err := e.r.Child()
	if el != nil {
		e.open = 2
	}
	return el, err
}

// header reads the header blocks. One that must be understood ends the request after all
// have been read, so that the trace has them.
func (e *envelope) header() error {
	refused := ""
	for {
		block, err := e.r.Child()
		if err != nil {
			return err
		}
		if block == nil {
			break
		}
		if len(e.headers) == MaxHeaders {
			return &Error{Kind: xsd.TooLarge, Path: "Envelope/Header", Detail: "too many header blocks"}
		}
		text, err := e.r.Raw(block)
		if err != nil {
			return err
		}
		h := Header{Name: block.Name, MustUnderstand: e.mustUnderstand(block), Text: cut(string(text), MaxHeaderText)}
		e.headers = append(e.headers, h)
		if h.MustUnderstand && !slices.Contains(e.understood, h.Name.Space) {
			refused = h.Name.Local
		}
	}
	if refused != "" {
		return &Error{Kind: MustUnderstand, Path: "Envelope/Header", Detail: refused}
	}
	return nil
}

// mustUnderstand tells whether a block is for us and must be understood: blocks for
// another actor or role are not ours (SOAP 1.1, 4.2.2; SOAP 1.2, 2.2).
func (e *envelope) mustUnderstand(block *xsd.Element) (must bool) {
	for _, a := range block.Attr {
		if a.Name.Space != e.version.uri() {
			continue
		}
		value := strings.TrimSpace(a.Value)
		switch a.Name.Local {
		case "mustUnderstand":
			must = value == "1" || value == "true"
		case "actor", "role":
			switch value {
			case "", "http://schemas.xmlsoap.org/soap/actor/next",
				soap12URI + "/role/next", soap12URI + "/role/ultimateReceiver":
			default:
				return false
			}
		}
	}
	return must
}

// tail reads from the end of the element in the body to the end of the document.
func (e *envelope) tail() error {
	for range e.open {
		extra, err := e.r.Child()
		if err != nil {
			return err
		}
		if extra != nil {
			return &Error{Kind: xsd.Repeated, Path: "Envelope", Detail: "more than one element"}
		}
	}
	return e.r.End()
}

// EncodeRequest writes the envelope of a request, a struct of an operation or a pointer to
// one.
func EncodeRequest(v Version, request any) ([]byte, error) {
	op := OperationOf(request)
	if op == nil {
		return nil, errors.New("wire: not a request")
	}
	if op.EmptyRequest() {
		return v.message(xml.Name{}, nil)
	}
	return v.message(op.element(), request)
}

// EncodeResponse writes the envelope of the response to an operation: a struct of its
// Response type or a pointer to one, or nil if it has none.
func EncodeResponse(v Version, op *Operation, response any) ([]byte, error) {
	switch t := reflect.TypeOf(response); {
	case op.Response == nil && response != nil:
		return nil, errors.New("wire: " + op.Name + " has no response")
	case op.Response == nil:
		return v.message(xml.Name{}, nil)
	case t != op.Response && t != reflect.PointerTo(op.Response):
		return nil, errors.New("wire: not the response of " + op.Name)
	}
	return v.message(op.responseElement(), response)
}

// message writes an envelope around the element of value, or around nothing.
func (v Version) message(name xml.Name, value any) ([]byte, error) {
	s, err := schema()
	if err != nil {
		return nil, err
	}
	enc := s.NewEncoder()
	if value != nil {
		if err := enc.Element(name, value); err != nil {
			return nil, err
		}
	}
	return v.envelope(enc, enc.Bytes()), nil
}

// envelope writes an envelope around a body that uses the prefixes of enc.
func (v Version) envelope(enc *xsd.Encoder, body []byte) []byte {
	out := make([]byte, 0, len(body)+1024)
	out = append(out, `<?xml version="1.0" encoding="UTF-8"?>`...)
	out = append(out, "\n"+`<soap:Envelope xmlns:soap="`+v.uri()+`"`+enc.Declarations()+`><soap:Body>`...)
	out = append(out, body...)
	return append(out, `</soap:Body></soap:Envelope>`...)
}
