package wire

import (
	"encoding/xml"
	"reflect"
	"strings"

	"vvsim/vasa/wire/xsd"
)

// FaultCode says whose fault a fault is. It has the names of SOAP 1.2.
type FaultCode string

// Fault codes. In SOAP 1.1 Sender is called Client and Receiver Server.
const (
	CodeSender          FaultCode = "Sender"
	CodeReceiver        FaultCode = "Receiver"
	CodeMustUnderstand  FaultCode = "MustUnderstand"
	CodeVersionMismatch FaultCode = "VersionMismatch"
)

// SOAPFault is a fault as the answer to a request.
type SOAPFault struct {
	Code   FaultCode
	Reason string   // for people
	Detail Fault    // nil for what is wrong with an envelope
	Name   xml.Name // of the element in the detail; set by reading alone
}

func (f *SOAPFault) Error() string {
	name := string(f.Code)
	switch {
	case f.Detail != nil:
		name = FaultName(f.Detail)
	case f.Name.Local != "":
		name = f.Name.Local
	}
	return name + ": " + f.Reason
}

// Code is the code of the SOAP fault that answers a request which was refused with e. Whether
// the fault has a detail is for the provider to decide.
func Code(e *Error) FaultCode {
	switch e.Kind {
	case VersionMismatch:
		return CodeVersionMismatch
	case MustUnderstand:
		return CodeMustUnderstand
	}
	return CodeSender
}

// EncodeFault writes the envelope of a fault. Characters of the reason that XML cannot carry are
// replaced.
func EncodeFault(v Version, f *SOAPFault) ([]byte, error) {
	s, err := schema()
	if err != nil {
		return nil, err
	}
	enc := s.NewEncoder()
	if f.Detail != nil {
		if err := encodeDetail(enc, f.Detail); err != nil {
			return nil, err
		}
	}
	out := []byte(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<soap:Envelope xmlns:soap="` + v.uri() + `"` + enc.Declarations() + `><soap:Body><soap:Fault>`)
	code, detail := string(f.Code), "detail"
	if v == SOAP12 {
		detail = "soap:Detail"
		out = append(out, `<soap:Code><soap:Value>soap:`...)
		out = xsd.AppendText(out, code)
		out = append(out, `</soap:Value></soap:Code><soap:Reason><soap:Text xml:lang="en">`...)
		out = xsd.AppendText(out, f.Reason)
		out = append(out, `</soap:Text></soap:Reason>`...)
	} else {
		switch f.Code {
		case CodeSender:
			code = "Client"
		case CodeReceiver:
			code = "Server"
		}
		out = append(out, `<faultcode>soap:`...)
		out = xsd.AppendText(out, code)
		out = append(out, `</faultcode><faultstring>`...)
		out = xsd.AppendText(out, f.Reason)
		out = append(out, `</faultstring>`...)
	}
	if f.Detail != nil {
		out = append(out, "<"+detail+">"...)
		out = append(out, enc.Bytes()...)
		out = append(out, "</"+detail+">"...)
	}
	return append(out, `</soap:Fault></soap:Body></soap:Envelope>`...), nil
}

// encodeDetail writes the fault element, and in it the element of the same name, still
// in the namespace of messages, that has the type of the fault.
func encodeDetail(enc *xsd.Encoder, f Fault) error {
	name := faultElement(f)
	return enc.Wrap(name, func() error { return enc.Element(name, f) })
}

// fault reads a fault of either version.
func (e *envelope) fault(el *xsd.Element) (*SOAPFault, error) {
	f := &SOAPFault{}
	err := e.each(el, func(child *xsd.Element) (err error) {
		switch child.Name.Local {
		case "faultcode":
			var text string
			text, err = e.r.Text(child)
			f.Code = parseCode(text)
		case "Code":
			err = e.each(child, func(value *xsd.Element) error {
				if value.Name.Local != "Value" {
					return e.r.Skip(value)
				}
				text, err := e.r.Text(value)
				f.Code = parseCode(text)
				return err
			})
		case "faultstring":
			f.Reason, err = e.reason(child)
		case "Reason":
			err = e.each(child, func(text *xsd.Element) (err error) {
				f.Reason, err = e.reason(text)
				return err
			})
		case "detail", "Detail":
			err = e.each(child, func(entry *xsd.Element) error { return e.detail(entry, f) })
		default:
			err = e.r.Skip(child)
		}
		return err
	})
	return f, err
}

// each reads the children of an element.
func (e *envelope) each(el *xsd.Element, read func(*xsd.Element) error) error {
	for {
		child, err := e.r.Child(el)
		if err != nil || child == nil {
			return err
		}
		if err := read(child); err != nil {
			return err
		}
	}
}

func (e *envelope) reason(el *xsd.Element) (string, error) {
	text, err := e.r.Text(el)
	if len(text) > MaxReason {
		text = strings.ToValidUTF8(text[:MaxReason], "")
	}
	return text, err
}

// parseCode reads a qualified fault code; of a dotted one of SOAP 1.1 the first part counts.
func parseCode(text string) FaultCode {
	_, local, prefixed := strings.Cut(strings.TrimSpace(text), ":")
	if !prefixed {
		local = strings.TrimSpace(text)
	}
	local, _, _ = strings.Cut(local, ".")
	switch local {
	case "Client":
		return CodeSender
	case "Server":
		return CodeReceiver
	}
	return FaultCode(local)
}

// detail reads an element of the detail of a fault. Stacks add elements of their own, stack
// traces for instance: they are skipped.
func (e *envelope) detail(entry *xsd.Element, f *SOAPFault) error {
	s, err := schema()
	if err != nil {
		return err
	}
	fault, known := s.New(xml.Name{Space: faultURI, Local: entry.Name.Local}).(Fault)
	if !known || entry.Name.Space != ServiceURI || f.Detail != nil {
		if f.Detail == nil && f.Name.Local == "" {
			f.Name = entry.Name
		}
		if err := e.r.Find(xsd.UnknownElement, entry.Name); err != nil {
			return err
		}
		return e.r.Skip(entry)
	}
	f.Detail, f.Name = fault, entry.Name
	return e.each(entry, func(inner *xsd.Element) error {
		if inner.Name != entry.Name || inner.Nil() {
			return e.r.Skip(inner)
		}
		return e.r.Decode(inner, fault)
	})
}

func newOf(t reflect.Type) any { return reflect.New(t).Interface() }

// isOf tells whether v is a struct of type t or a pointer to one.
func isOf(v any, t reflect.Type) bool {
	vt := reflect.TypeOf(v)
	return vt == t || vt == reflect.PointerTo(t)
}

// elementOf is the element of a request or response.
func elementOf(v any) (xml.Name, bool) {
	if op := OperationOf(v); op != nil {
		return op.element(), true
	}
	for _, op := range table().all {
		if op.Response != nil && isOf(v, op.Response) {
			return op.responseElement(), true
		}
	}
	return xml.Name{}, false
}
