package xsd

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"
)

// Raw is a value of xs:anyType whose type the schema does not know: the name of the
// type and the text of the element, without its children.
//
// The other values that an any field can hold are string, bool, int32, int64, float64,
// time.Time, []byte, and pointers to structs of the schema. They are written with the
// prefixed xsi:type that says which they are. An element without xsi:type is read as a
// string.
type Raw struct {
	Type xml.Name
	Text string
}

// Encoder writes elements with the prefixes of its schema and remembers which it used.
// After an error it is of no use.
type Encoder struct {
	schema *Schema
	out    []byte
	used   uint32
}

// NewEncoder returns an empty encoder.
func (s *Schema) NewEncoder() *Encoder { return &Encoder{schema: s} }

// Bytes is what has been written. It is valid until the next call.
func (e *Encoder) Bytes() []byte { return e.out }

// Declarations are the xmlns attributes of the prefixes that were used, each with a
// space before it, for the tag around Bytes.
func (e *Encoder) Declarations() string {
	var out []byte
	for i, uri := range e.schema.uris {
		if e.used&(1<<i) != 0 {
			out = append(out, " xmlns:"+e.schema.prefixes[i]+`="`...)
			out = append(appendEscaped(out, uri, true), '"')
		}
	}
	return string(out)
}

// Element writes v, a struct of the schema or a pointer to one, as the element of the
// given name, whose namespace must be one of the schema. An error names the path of the
// element that cannot be written.
func (e *Encoder) Element(name xml.Name, v any) error {
	p := e.schema.planOf(v)
	if p == nil {
		return fmt.Errorf("%s: %T is not in the schema", name.Local, v)
	}
	rv := reflect.ValueOf(v)
	if rv.Kind() == reflect.Pointer {
		if rv.IsNil() {
			return fmt.Errorf("%s: nil %T", name.Local, v)
		}
		rv = rv.Elem()
	}
	return e.Wrap(name, func() error { return e.children(p, rv) })
}

// Wrap writes an element around what content writes.
func (e *Encoder) Wrap(name xml.Name, content func() error) error {
	space := -1
	for i, uri := range e.schema.uris {
		if uri == name.Space {
			space = i
		}
	}
	if space < 0 {
		return fmt.Errorf("%s: namespace %q is not in the schema", name.Local, name.Space)
	}
	e.open(space, name.Local)
	if err := e.close(space, name.Local, content); err != nil {
		return fmt.Errorf("%s/%w", name.Local, err)
	}
	return nil
}

// open writes a start tag up to where attributes go.
func (e *Encoder) open(space int, local string) {
	e.out = append(e.out, '<')
	e.name(space, local)
}

// close ends the start tag, and writes content and end tag, or makes it an empty tag.
func (e *Encoder) close(space int, local string, content func() error) error {
	e.out = append(e.out, '>')
	before := len(e.out)
	if err := content(); err != nil {
		return err
	}
	if len(e.out) == before {
		e.out = append(e.out[:before-1], "/>"...)
		return nil
	}
	e.out = append(e.out, "</"...)
	e.name(space, local)
	e.out = append(e.out, '>')
	return nil
}

func (e *Encoder) name(space int, local string) {
	e.used |= 1 << space
	e.out = append(e.out, e.schema.prefixes[space]...)
	e.out = append(e.out, ':')
	e.out = append(e.out, local...)
}

// xsiType writes the attribute that tells the type of an element.
func (e *Encoder) xsiType(space int, local string) {
	e.out = append(e.out, ' ')
	e.name(e.schema.xsi(), "type")
	e.out = append(e.out, `="`...)
	e.name(space, local)
	e.out = append(e.out, '"')
}

func (e *Encoder) children(p *plan, v reflect.Value) error {
	for i := range p.fields {
		f := &p.fields[i]
		if err := e.field(f, v.FieldByIndex(f.index)); err != nil {
			return err
		}
	}
	return nil
}

func (e *Encoder) field(f *field, v reflect.Value) error {
	switch {
	case f.list:
		if f.mandatory && v.Len() == 0 {
			return fmt.Errorf("%s: at least one is needed", f.name.Local)
		}
		for i := range v.Len() {
			if err := e.element(f, v.Index(i)); err != nil {
				return fmt.Errorf("%s[%d]%w", f.name.Local, i, err)
			}
		}
		return nil
	case !f.mandatory && v.IsNil():
		return nil
	case f.pointer:
		v = v.Elem()
	}
	if err := e.element(f, v); err != nil {
		return fmt.Errorf("%s%w", f.name.Local, err)
	}
	return nil
}

// pathError is an error in the element itself, or, with a slash before it, below it.
func pathError(below bool, err error) error {
	if err == nil {
		return nil
	}
	if below {
		return fmt.Errorf("/%w", err)
	}
	return fmt.Errorf(": %w", err)
}

// element writes one element of a field.
func (e *Encoder) element(f *field, v reflect.Value) error {
	e.open(f.space, f.name.Local)
	switch f.kind {
	case kindStruct:
		return pathError(true, e.close(f.space, f.name.Local, func() error { return e.children(f.plan, v) }))
	case kindExtended:
		return e.extended(f, v)
	case kindAny:
		return e.any(f, v.Interface())
	}
	text, err := scalar(f.kind, v)
	if err != nil {
		return pathError(false, err)
	}
	return pathError(false, e.close(f.space, f.name.Local, func() error { return e.text(text) }))
}

// extended writes the declared type, or, with its name, one that extends it.
func (e *Encoder) extended(f *field, v reflect.Value) error {
	if v.IsNil() || v.Elem().Kind() != reflect.Pointer || v.Elem().IsNil() {
		return pathError(false, errors.New("nil"))
	}
	p := e.schema.plans[v.Elem().Type().Elem()]
	if p == nil || p.name.Local == "" {
		return pathError(false, fmt.Errorf("%v is no type of the schema", v.Elem().Type()))
	}
	if p != f.plan {
		e.xsiType(p.space, p.name.Local)
	}
	return pathError(true, e.close(f.space, f.name.Local, func() error { return e.children(p, v.Elem().Elem()) }))
}

// any writes a value of xs:anyType.
func (e *Encoder) any(f *field, v any) error {
	var text string
	var err error
	switch v := v.(type) {
	case nil:
		err = errors.New("nil")
	case Raw:
		return pathError(false, e.raw(f, v))
	case string:
		text = v
		e.xsiType(e.schema.xs(), "string")
	case bool:
		text = strconv.FormatBool(v)
		e.xsiType(e.schema.xs(), "boolean")
	case int32:
		text = strconv.FormatInt(int64(v), 10)
		e.xsiType(e.schema.xs(), "int")
	case int64:
		text = strconv.FormatInt(v, 10)
		e.xsiType(e.schema.xs(), "long")
	case float64:
		text = formatDouble(v)
		e.xsiType(e.schema.xs(), "double")
	case time.Time:
		text, err = formatTime(v)
		e.xsiType(e.schema.xs(), "dateTime")
	case []byte:
		text = base64.StdEncoding.EncodeToString(v)
		e.xsiType(e.schema.xs(), "base64Binary")
	default:
		p, rv := e.schema.planOf(v), reflect.ValueOf(v)
		if p == nil || p.name.Local == "" || rv.Kind() != reflect.Pointer || rv.IsNil() {
			return pathError(false, fmt.Errorf("%T cannot stand for xs:anyType", v))
		}
		e.xsiType(p.space, p.name.Local)
		return pathError(true, e.close(f.space, f.name.Local, func() error { return e.children(p, rv.Elem()) }))
	}
	if err != nil {
		return pathError(false, err)
	}
	return pathError(false, e.close(f.space, f.name.Local, func() error { return e.text(text) }))
}

// raw writes a value whose type is in no namespace of the schema, or at least none of
// its types. Its prefix is declared where it is used.
func (e *Encoder) raw(f *field, v Raw) error {
	if !isNCName(v.Type.Local) || !isText(v.Type.Space) || e.schema.knows(v.Type) {
		return fmt.Errorf("type {%s}%s cannot be that of a raw value", v.Type.Space, v.Type.Local)
	}
	prefix := ""
	if v.Type.Space != "" {
		e.out = append(e.out, ` xmlns:raw="`...)
		e.out = append(appendEscaped(e.out, v.Type.Space, true), '"')
		prefix = "raw:"
	}
	e.out = append(e.out, ' ')
	e.name(e.schema.xsi(), "type")
	e.out = append(e.out, `="`+prefix+v.Type.Local+`"`...)
	return e.close(f.space, f.name.Local, func() error { return e.text(v.Text) })
}

// knows tells whether a type would be read as something else than Raw.
func (s *Schema) knows(name xml.Name) bool {
	return s.byName[name] != nil || name.Space == SchemaURI && simple(name.Local)
}

func scalar(k kind, v reflect.Value) (string, error) {
	switch k {
	case kindBool:
		return strconv.FormatBool(v.Bool()), nil
	case kindInt32, kindInt64:
		return strconv.FormatInt(v.Int(), 10), nil
	case kindTime:
		return formatTime(v.Interface().(time.Time))
	case kindBytes:
		return base64.StdEncoding.EncodeToString(v.Bytes()), nil
	}
	return v.String(), nil
}

// text writes character data. What XML cannot carry is an error, never a replacement.
func (e *Encoder) text(s string) error {
	if !isText(s) {
		return errors.New("text that XML cannot carry")
	}
	e.out = appendEscaped(e.out, s, false)
	return nil
}

// appendEscaped escapes what is markup, and what a reader would change: carriage returns
// everywhere, other white space but blanks in attributes.
func appendEscaped(out []byte, s string, attribute bool) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '<':
			out = append(out, "&lt;"...)
		case c == '>':
			out = append(out, "&gt;"...)
		case c == '&':
			out = append(out, "&amp;"...)
		case c == '"' && attribute:
			out = append(out, "&#34;"...)
		case c == '\r' || attribute && (c == '\n' || c == '\t'):
			out = append(strconv.AppendInt(append(out, "&#"...), int64(c), 10), ';')
		default:
			out = append(out, c)
		}
	}
	return out
}

// AppendText appends s as character data. What XML cannot carry becomes U+FFFD: it is
// for texts written for people.
func AppendText(out []byte, s string) []byte {
	if isText(s) {
		return appendEscaped(out, s, false)
	}
	for _, r := range s {
		if c := string(r); isText(c) {
			out = appendEscaped(out, c, false)
		} else {
			out = append(out, "\uFFFD"...)
		}
	}
	return out
}
