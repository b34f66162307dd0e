package wire

import (
	"encoding/xml"
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
	var out []byte
	detail := "detail"
	if v == SOAP12 {
		detail = "soap:Detail"
		out = append(out, `<soap:Fault><soap:Code><soap:Value>soap:`...)
		out = xsd.AppendText(out, string(f.Code))
		out = append(out, `</soap:Value></soap:Code><soap:Reason><soap:Text xml:lang="en">`...)
		out = xsd.AppendText(out, f.Reason)
		out = append(out, `</soap:Text></soap:Reason>`...)
	} else {
		out = append(out, `<soap:Fault><faultcode>soap:`...)
		out = xsd.AppendText(out, f.Code.soap11())
		out = append(out, `</faultcode><faultstring>`...)
		out = xsd.AppendText(out, f.Reason)
		out = append(out, `</faultstring>`...)
	}
	if f.Detail != nil {
		out = append(out, "<"+detail+">"...)
		out = append(out, enc.Bytes()...)
		out = append(out, "</"+detail+">"...)
	}
	return v.envelope(enc, append(out, `</soap:Fault>`...)), nil
}

func (c FaultCode) soap11() string {
	switch c {
	case CodeSender:
		return "Client"
	case CodeReceiver:
		return "Server"
	}
	return string(c)
}

// encodeDetail writes the fault element, and in it the element of the same name, still
// in the namespace of messages, that has the type of the fault.
func encodeDetail(enc *xsd.Encoder, f Fault) error {
	name := faultElement(f)
	return enc.Wrap(name, func() error { return enc.Element(name, f) })
}

// fault reads a fault of either version.
func (e *envelope) fault() (*SOAPFault, error) {
	f := &SOAPFault{}
	err := e.each(func(child *xsd.Element) (err error) {
		switch child.Name.Local {
		case "faultcode":
			var text string
			text, err = e.r.Text()
			f.Code = parseCode(text)
		case "Code":
			err = e.each(func(value *xsd.Element) error {
				if value.Name.Local != "Value" {
					return e.r.Skip(value)
				}
				text, err := e.r.Text()
				f.Code = parseCode(text)
				return err
			})
		case "faultstring":
			f.Reason, err = e.reason()
		case "Reason":
			err = e.each(func(*xsd.Element) (err error) {
				f.Reason, err = e.reason()
				return err
			})
		case "detail", "Detail":
			err = e.each(func(entry *xsd.Element) error { return e.detail(entry, f) })
		default:
			err = e.r.Skip(child)
		}
		return err
	})
	return f, err
}

// each reads the children of the innermost element.
func (e *envelope) each(read func(*xsd.Element) error) error {
	for {
		child, err := e.r.Child()
		if err != nil || child == nil {
			return err
		}
		if err := read(child); err != nil {
			return err
		}
	}
}

func (e *envelope) reason() (string, error) {
	text, err := e.r.Text()
	return cut(text, MaxReason), err
}

// cut shortens a text to n bytes, or less if a character would be split.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
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
	return FaultCode(cut(local, maxCode))
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
	read := false
	return e.each(func(inner *xsd.Element) error {
		if inner.Name != entry.Name || inner.Nil() || read {
			return e.r.Skip(inner)
		}
		read = true
		return e.r.Decode(inner, fault)
	})
}
