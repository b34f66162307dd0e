package xsd

import (
	"encoding/xml"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Namespaces of XML Schema itself.
const (
	SchemaURI   = "http://www.w3.org/2001/XMLSchema"
	InstanceURI = "http://www.w3.org/2001/XMLSchema-instance"
)

// Namespace is a target namespace with the prefix it is written with. Its types are zero
// values of structs, or pointers to them: complex types, which xsi:type may name, and the
// nameless types of elements, which it may not.
type Namespace struct {
	Prefix, URI string
	Types       []any
	Elements    []any
}

// Schema is a set of namespaces whose types have been checked. It does not change.
type Schema struct {
	prefixes []string // by number of namespace; xs and xsi are the last two
	uris     []string
	plans    map[reflect.Type]*plan
	byName   map[xml.Name]*plan
}

// maxNamespaces is how many namespaces a schema may have: an Encoder keeps those it
// used as bits.
const maxNamespaces = 32

// plan is how a struct is written and read.
type plan struct {
	name   xml.Name
	space  int // number of the namespace of the type
	typ    reflect.Type
	fields []field
	// byLocal finds a field by the local name of its element, which is unique in a type
	// and its base types.
	byLocal map[string]int
}

type kind int

const (
	kindString kind = iota
	kindBool
	kindInt32
	kindInt64
	kindTime
	kindBytes
	kindStruct
	kindExtended // an interface: the declared type or one that extends it
	kindAny
)

// field is one element of a complex type.
type field struct {
	name      xml.Name
	space     int
	index     []int // for reflect.Value.FieldByIndex
	kind      kind
	elem      reflect.Type // of one element, without pointer or slice
	mandatory bool         // at least one
	list      bool
	pointer   bool
	nillable  bool
	plan      *plan // of kindStruct and kindExtended: of the declared type
}

// Compile checks the types of a schema. An error is a mistake in the structs.
func Compile(spaces []Namespace) (*Schema, error) {
	s := &Schema{plans: map[reflect.Type]*plan{}, byName: map[xml.Name]*plan{}}
	for i, ns := range spaces {
		s.prefixes, s.uris = append(s.prefixes, ns.Prefix), append(s.uris, ns.URI)
		for _, v := range ns.Types {
			p, err := s.add(i, v)
			if err != nil {
				return nil, err
			}
			p.name.Local = p.typ.Name()
			s.byName[p.name] = p
		}
		for _, v := range ns.Elements {
			if _, err := s.add(i, v); err != nil {
				return nil, err
			}
		}
	}
	s.prefixes = append(s.prefixes, "xs", "xsi")
	s.uris = append(s.uris, SchemaURI, InstanceURI)
	if len(s.uris) > maxNamespaces {
		return nil, fmt.Errorf("xsd: %d namespaces, more than %d", len(s.uris), maxNamespaces)
	}
	for t, p := range s.plans {
		if err := s.collect(p, t, nil); err != nil {
			return nil, fmt.Errorf("xsd: %v: %w", t, err)
		}
	}
	return s, nil
}

// add makes room for the plan of a struct of a namespace.
func (s *Schema) add(space int, v any) (*plan, error) {
	t := reflect.TypeOf(v)
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("xsd: %T is not a struct", v)
	}
	if s.plans[t] != nil {
		return nil, fmt.Errorf("xsd: %v is listed twice", t)
	}
	p := &plan{name: xml.Name{Space: s.uris[space]}, space: space, typ: t, byLocal: map[string]int{}}
	s.plans[t] = p
	return p, nil
}

// xs and xsi are the numbers of the namespaces that every schema has.
func (s *Schema) xs() int  { return len(s.uris) - 2 }
func (s *Schema) xsi() int { return len(s.uris) - 1 }

// collect adds the elements that struct t declares, its base type's first, to p.
func (s *Schema) collect(p *plan, t reflect.Type, path []int) error {
	declares := s.plans[t]
	if declares == nil {
		return fmt.Errorf("base type %v is in no namespace", t)
	}
	for i := range t.NumField() {
		sf := t.Field(i)
		index := append(append([]int(nil), path...), i)
		tag, tagged := sf.Tag.Lookup("vasa")
		if !tagged {
			if !sf.Anonymous || i != 0 {
				return fmt.Errorf("field %s has no tag", sf.Name)
			}
			if err := s.collect(p, sf.Type, index); err != nil {
				return err
			}
			continue
		}
		f, err := s.describe(sf.Type, tag)
		if err != nil {
			return fmt.Errorf("field %s: %w", sf.Name, err)
		}
		f.name.Space, f.space, f.index = declares.name.Space, declares.space, index
		if _, ok := p.byLocal[f.name.Local]; ok {
			return fmt.Errorf("element %s twice", f.name.Local)
		}
		p.byLocal[f.name.Local] = len(p.fields)
		p.fields = append(p.fields, f)
	}
	return nil
}

// describe reads a tag and compares it with the Go type of the field.
func (s *Schema) describe(t reflect.Type, tag string) (f field, err error) {
	name, cardinality, ok := strings.Cut(tag, ",")
	if !ok || !isNCName(name) {
		return f, fmt.Errorf("tag %q is not name,cardinality", tag)
	}
	f.name.Local = name
	cardinality, f.nillable = strings.CutSuffix(cardinality, "~")
	switch cardinality {
	case "1":
		f.mandatory = true
	case "?":
	case "+":
		f.mandatory, f.list = true, true
	case "*":
		f.list = true
	default:
		return f, fmt.Errorf("cardinality %q is none of 1 ? * +", cardinality)
	}
	f.elem = t
	switch {
	case f.list:
		if t.Kind() != reflect.Slice {
			return f, fmt.Errorf("%v is not a slice", t)
		}
		f.elem = t.Elem()
	case !f.mandatory && t.Kind() != reflect.Interface:
		if t.Kind() != reflect.Pointer {
			return f, fmt.Errorf("%v is not a pointer", t)
		}
		f.pointer, f.elem = true, t.Elem()
	}
	err = s.kindOf(&f)
	return f, err
}

func (s *Schema) kindOf(f *field) error {
	switch {
	case f.elem == reflect.TypeFor[time.Time]():
		f.kind = kindTime
	case f.elem == reflect.TypeFor[[]byte]():
		f.kind = kindBytes
	case f.elem == reflect.TypeFor[any]():
		f.kind = kindAny
	case f.elem.Kind() == reflect.String:
		f.kind = kindString
	case f.elem.Kind() == reflect.Bool:
		f.kind = kindBool
	case f.elem.Kind() == reflect.Int32:
		f.kind = kindInt32
	case f.elem.Kind() == reflect.Int64:
		f.kind = kindInt64
	case f.elem.Kind() == reflect.Struct:
		f.kind, f.plan = kindStruct, s.plans[f.elem]
	case f.elem.Kind() == reflect.Interface:
		f.kind = kindExtended
		if m, ok := f.elem.MethodByName("Base"); ok && m.Type.NumOut() == 1 && m.Type.Out(0).Kind() == reflect.Pointer {
			f.plan = s.plans[m.Type.Out(0).Elem()]
		}
	default:
		return fmt.Errorf("%v is no type of XML Schema", f.elem)
	}
	if (f.kind == kindStruct || f.kind == kindExtended) && f.plan == nil {
		return fmt.Errorf("%v is not in the schema", f.elem)
	}
	return nil
}

// TypeName is the qualified name of the complex type that v, a struct or a pointer to
// one, stands for; false if the schema does not know it.
func (s *Schema) TypeName(v any) (xml.Name, bool) {
	p := s.planOf(v)
	if p == nil || p.name.Local == "" {
		return xml.Name{}, false
	}
	return p.name, true
}

func (s *Schema) planOf(v any) *plan {
	t := reflect.TypeOf(v)
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return s.plans[t]
}

// New returns a pointer to a new value of the named type, or nil if the schema has none.
func (s *Schema) New(name xml.Name) any {
	if p := s.byName[name]; p != nil {
		return reflect.New(p.typ).Interface()
	}
	return nil
}
