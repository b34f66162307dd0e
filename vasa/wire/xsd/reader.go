package xsd

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of what is read.
const (
	// MaxBody is the length of a document in bytes. The longest that clients send are
	// lists of revoked certificates.
	MaxBody = 8 << 20
	// MaxDepth is how deep elements may nest, the envelope's included. The contract needs 12.
	MaxDepth = 32
	// MaxTag is the length of one tag in bytes, with its attributes.
	MaxTag = 64 << 10
	// MaxNodes is how many elements and attributes a document may have. They cost more time and
	// memory than their text: the longest list of a batch has some ten thousand.
	MaxNodes = 1 << 18
	// MaxBindings is how many prefixes of namespaces may be declared around an element.
	MaxBindings = 256
	// MaxFindings is how many findings one document can give; further ones are counted.
	MaxFindings = 64
	// maxShown is how much of a name stands in a path.
	maxShown = 128
)

// Kind says what is wrong with a document, or unexpected in it.
type Kind string

// Errors.
const (
	Malformed      Kind = "malformed XML"
	TooLarge       Kind = "over a limit"
	Missing        Kind = "missing element"
	Repeated       Kind = "repeated element"
	Syntax         Kind = "bad value"
	WrongNamespace Kind = "element in a wrong namespace"
	WrongType      Kind = "type that does not fit"
)

// Findings; errors if Options.Strict. NilElement is an error, too, where an element is mandatory.
const (
	UnknownElement   Kind = "unknown element"
	UnknownAttribute Kind = "unknown attribute"
	UnknownType      Kind = "unknown type"
	OutOfOrder       Kind = "element out of order"
	NilElement       Kind = "nil element"
	StrayText        Kind = "text between elements"
)

// Error is why a document was refused. It holds names of elements, never their text.
type Error struct {
	Kind   Kind
	Path   string // local names from the root, items of lists with their number: a/b[2]/c
	Detail string
}

func (e *Error) Error() string {
	s := string(e.Kind)
	if e.Path != "" {
		s = e.Path + ": " + s
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// Finding is something in a document that was ignored.
type Finding struct {
	Kind Kind
	Path string   // of the element it is about
	Name xml.Name // of the element, attribute or type that was not expected
}

// Options of reading.
type Options struct {
	// Strict refuses what would otherwise be a finding.
	Strict bool
}

// Reader reads one document, element by element.
type Reader struct {
	schema   *Schema
	body     []byte
	xml      *xml.Decoder
	strict   bool
	begun    bool
	nodes    int
	bindings []binding // of namespace prefixes, innermost last
	path     []step
	findings []Finding
	dropped  int
}

type binding struct {
	depth       int
	prefix, uri string
}

type step struct {
	local string
	item  int // number in a list, -1 if it is not in one
}

// Element is a start tag that was read.
type Element struct {
	Name   xml.Name
	Attr   []xml.Attr // without declarations of namespaces
	offset int64      // of the tag in the body
	depth  int
	item   int       // number in a list, -1 if it is not in one
	isNil  bool      // by xsi:nil
	typ    *xml.Name // of xsi:type, resolved
}

// Nil tells whether the element says xsi:nil.
func (el *Element) Nil() bool { return el.isNil }

// NewReader checks what can be checked of a whole document. The body must not change
// while it is read.
func (s *Schema) NewReader(body []byte, o Options) (*Reader, error) {
	if len(body) > MaxBody {
		return nil, &Error{Kind: TooLarge, Detail: "more than " + strconv.Itoa(MaxBody) + " bytes"}
	}
	body = bytes.TrimPrefix(body, []byte("\uFEFF"))
	if !utf8.Valid(body) {
		return nil, &Error{Kind: Malformed, Detail: "not UTF-8"}
	}
	r := &Reader{schema: s, body: body, strict: o.Strict}
	r.xml = xml.NewDecoder(&tagLimit{Reader: bytes.NewReader(body)})
	return r, nil
}

// errLongTag ends reading in the middle of a tag.
var errLongTag = errors.New("tag too long")

// tagLimit bounds the attributes that xml.Decoder collects before it hands out a tag.
type tagLimit struct {
	*bytes.Reader
	last   byte
	length int // since the < of a tag; 0 outside
}

// ReadByte reads a byte; xml.Decoder reads by bytes alone.
func (t *tagLimit) ReadByte() (byte, error) {
	b, err := t.Reader.ReadByte()
	if err != nil {
		return b, err
	}
	switch {
	case b == '>' || t.last == '<' && (b == '!' || b == '?'):
		t.length = 0
	case b == '<':
		t.length = 1
	case t.length > 0:
		t.length++
	}
	t.last = b
	if t.length > MaxTag {
		return 0, errLongTag
	}
	return b, nil
}

// Findings are what was ignored so far; More is how many did not fit.
func (r *Reader) Findings() (found []Finding, more int) { return r.findings, r.dropped }

// Find records a finding about the element that is being read, or refuses it.
func (r *Reader) Find(k Kind, name xml.Name) error {
	name = xml.Name{Space: shown(name.Space), Local: shown(name.Local)}
	if r.strict {
		return r.fail(k, name.Local)
	}
	if len(r.findings) == MaxFindings {
		r.dropped++
		return nil
	}
	r.findings = append(r.findings, Finding{k, r.where(), name})
	return nil
}

func shown(s string) string {
	if len(s) > maxShown {
		return strings.ToValidUTF8(s[:maxShown], "") + "..."
	}
	return s
}

func (r *Reader) fail(k Kind, detail string) error {
	return &Error{Kind: k, Path: r.where(), Detail: detail}
}

func (r *Reader) where() string {
	var b strings.Builder
	for i, s := range r.path {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(shown(s.local))
		if s.item >= 0 {
			b.WriteString("[" + strconv.Itoa(s.item) + "]")
		}
	}
	return b.String()
}

// token is the next start tag, end tag or text; anything else is skipped or refused.
func (r *Reader) token() (xml.Token, *Element, error) {
	for {
		offset := r.xml.InputOffset()
		t, err := r.xml.Token()
		switch {
		case errors.Is(err, errLongTag):
			return nil, nil, r.fail(TooLarge, "a tag of more than "+strconv.Itoa(MaxTag)+" bytes")
		case errors.Is(err, io.EOF):
			return nil, nil, io.EOF
		case err != nil:
			return nil, nil, r.fail(Malformed, malformation(err))
		}
		begun := r.begun
		r.begun = true
		switch t := t.(type) {
		case xml.StartElement:
			el, err := r.start(t, offset)
			return t, el, err
		case xml.EndElement:
			for n := len(r.bindings); n > 0 && r.bindings[n-1].depth == len(r.path); n-- {
				r.bindings = r.bindings[:n-1]
			}
			r.path = r.path[:len(r.path)-1]
			return t, nil, nil
		case xml.CharData:
			return t, nil, nil
		case xml.ProcInst:
			if begun || t.Target != "xml" {
				return nil, nil, r.fail(Malformed, "processing instruction")
			}
		case xml.Directive:
			return nil, nil, r.fail(Malformed, "document type")
		}
	}
}

// malformation is what the parser says about a document, without what it quotes of it.
func malformation(err error) string {
	var syntax *xml.SyntaxError
	if !errors.As(err, &syntax) {
		return "cannot be read"
	}
	what, _, _ := strings.Cut(syntax.Msg, ":")
	for _, quote := range []string{" &", " <", " \"", " '"} {
		what, _, _ = strings.Cut(what, quote)
	}
	return "line " + strconv.Itoa(syntax.Line) + ": " + shown(what)
}

func (r *Reader) start(t xml.StartElement, offset int64) (*Element, error) {
	r.path = append(r.path, step{t.Name.Local, -1})
	if len(r.path) > MaxDepth {
		return nil, r.fail(TooLarge, "more than "+strconv.Itoa(MaxDepth)+" elements deep")
	}
	if r.nodes += 1 + len(t.Attr); r.nodes > MaxNodes {
		return nil, r.fail(TooLarge, "more than "+strconv.Itoa(MaxNodes)+" elements and attributes")
	}
	el := &Element{Name: t.Name, offset: offset, depth: len(r.path), item: -1}
	for _, a := range t.Attr {
		switch {
		case a.Name.Space == "xmlns":
			r.bindings = append(r.bindings, binding{el.depth, a.Name.Local, a.Value})
		case a.Name.Space == "" && a.Name.Local == "xmlns":
			r.bindings = append(r.bindings, binding{el.depth, "", a.Value})
		default:
			el.Attr = append(el.Attr, a)
		}
	}
	if len(r.bindings) > MaxBindings {
		return nil, r.fail(TooLarge, "more than "+strconv.Itoa(MaxBindings)+" namespace prefixes")
	}
	for _, a := range el.Attr {
		if err := r.instance(el, a); err != nil {
			return nil, err
		}
	}
	return el, nil
}

// instance reads the attributes that XML Schema gives every element.
func (r *Reader) instance(el *Element, a xml.Attr) (err error) {
	if a.Name.Space != InstanceURI {
		return nil
	}
	switch a.Name.Local {
	case "nil":
		if el.isNil, err = parseBool(a.Value); err != nil {
			return r.fail(Syntax, "xsi:nil is not a boolean")
		}
	case "type":
		name, ok := r.resolve(collapse(a.Value))
		if !ok {
			return r.fail(Syntax, "xsi:type is not a qualified name")
		}
		el.typ = &name
	}
	return nil
}

// resolve reads a qualified name; a name without prefix is in the default namespace.
func (r *Reader) resolve(s string) (xml.Name, bool) {
	prefix, local, prefixed := strings.Cut(s, ":")
	if !prefixed {
		prefix, local = "", s
	}
	if !isNCName(local) || prefixed && !isNCName(prefix) {
		return xml.Name{}, false
	}
	for _, b := range slices.Backward(r.bindings) {
		if b.prefix == prefix {
			return xml.Name{Space: b.uri, Local: local}, true
		}
	}
	return xml.Name{Local: local}, !prefixed
}

// Root is the element of the document.
func (r *Reader) Root() (*Element, error) {
	t, el, err := r.token()
	for err == nil && el == nil {
		if text, ok := t.(xml.CharData); !ok || collapse(string(text)) != "" {
			return nil, r.fail(Malformed, "text before the first element")
		}
		t, el, err = r.token()
	}
	if errors.Is(err, io.EOF) {
		return nil, r.fail(Malformed, "no element")
	}
	return el, err
}

// End makes sure that nothing follows the root.
func (r *Reader) End() error {
	for {
		t, _, err := r.token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if text, ok := t.(xml.CharData); !ok || collapse(string(text)) != "" {
			return r.fail(Malformed, "text after the last element")
		}
	}
}

// Child is the next element in the innermost one that is being read, or nil at its end,
// which ends the reading of that one.
func (r *Reader) Child() (*Element, error) {
	for {
		t, el, err := r.token()
		if err != nil {
			return nil, r.broken(err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			return el, nil
		case xml.EndElement:
			return nil, nil
		case xml.CharData:
			if collapse(string(t)) != "" {
				if err := r.Find(StrayText, xml.Name{}); err != nil {
					return nil, err
				}
			}
		}
	}
}

// broken is the error of a document that ends early.
func (r *Reader) broken(err error) error {
	if errors.Is(err, io.EOF) {
		return r.fail(Malformed, "ends inside an element")
	}
	return err
}

// Text reads the innermost element, which holds text alone, to its end.
func (r *Reader) Text() (string, error) {
	var text strings.Builder
	for {
		t, child, err := r.token()
		if err != nil {
			return "", r.broken(err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			if err := r.unexpected(child); err != nil {
				return "", err
			}
		case xml.EndElement:
			return text.String(), nil
		case xml.CharData:
			text.Write(t)
		}
	}
}

// unexpected reports an element that does not belong where it stands and skips it.
func (r *Reader) unexpected(el *Element) error {
	if err := r.Find(UnknownElement, el.Name); err != nil {
		return err
	}
	return r.Skip(el)
}

// Skip reads an element to its end. What is in it is only checked to be well-formed.
func (r *Reader) Skip(el *Element) error {
	for {
		t, _, err := r.token()
		if err != nil {
			return r.broken(err)
		}
		if _, ok := t.(xml.EndElement); ok && len(r.path) == el.depth-1 {
			return nil
		}
	}
}

// Raw skips an element and returns its bytes as they stand in the document.
func (r *Reader) Raw(el *Element) ([]byte, error) {
	if err := r.Skip(el); err != nil {
		return nil, err
	}
	return r.body[el.offset:r.xml.InputOffset()], nil
}
