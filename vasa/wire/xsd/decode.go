package xsd

import (
	"errors"
	"reflect"
)

// Decode reads an element of the type of v, a pointer to a struct of the schema, to its
// end. Nothing is kept of the element, nor of its body, in v.
func (r *Reader) Decode(el *Element, v any) error {
	p := r.schema.planOf(v)
	rv := reflect.ValueOf(v)
	if p == nil || rv.Kind() != reflect.Pointer || rv.IsNil() {
		return r.fail(WrongType, "the receiver is not in the schema")
	}
	if el.isNil {
		return r.fail(NilElement, "")
	}
	if err := r.attributes(el); err != nil {
		return err
	}
	return r.structure(el, p, rv.Elem())
}

// attributes reports those that no element of the contract has.
func (r *Reader) attributes(el *Element) error {
	for _, a := range el.Attr {
		if a.Name.Space == InstanceURI {
			switch a.Name.Local {
			case "nil", "type", "schemaLocation", "noNamespaceSchemaLocation":
				continue
			}
		}
		if err := r.Find(UnknownAttribute, a.Name); err != nil {
			return err
		}
	}
	return nil
}

// structure reads the children of an element into v.
func (r *Reader) structure(el *Element, p *plan, v reflect.Value) error {
	counts := make([]int, len(p.fields))
	last := 0
	for {
		child, err := r.Child()
		if err != nil {
			return err
		}
		if child == nil {
			break
		}
		i, ok := p.byLocal[child.Name.Local]
		if !ok {
			if err := r.unexpected(child); err != nil {
				return err
			}
			continue
		}
		if i < last {
			if err := r.Find(OutOfOrder, child.Name); err != nil {
				return err
			}
		}
		last = max(last, i)
		if err := r.field(child, &p.fields[i], v.FieldByIndex(p.fields[i].index), &counts[i]); err != nil {
			return err
		}
	}
	for i, n := range counts {
		if f := &p.fields[i]; f.mandatory && n == 0 {
			r.path = append(r.path, el.step(), step{f.name.Local, -1})
			return r.fail(Missing, "")
		}
	}
	return nil
}

// field reads one element of a field into v, and counts it unless it is nil.
func (r *Reader) field(el *Element, f *field, v reflect.Value, count *int) error {
	if el.Name != f.name {
		return r.fail(WrongNamespace, shown(el.Name.Space))
	}
	if f.list {
		el.item = *count
		r.path[len(r.path)-1] = el.step()
	} else if *count > 0 {
		return r.fail(Repeated, "")
	}
	if err := r.attributes(el); err != nil {
		return err
	}
	if el.isNil {
		if f.mandatory && !f.list {
			return r.fail(NilElement, "")
		}
		if !f.nillable {
			if err := r.Find(NilElement, el.Name); err != nil {
				return err
			}
		}
		return r.empty(el)
	}
	*count++
	item := reflect.New(f.elem).Elem()
	if err := r.element(el, f, item); err != nil {
		return err
	}
	switch {
	case f.list:
		v.Set(reflect.Append(v, item))
	case f.pointer:
		v.Set(item.Addr())
	default:
		v.Set(item)
	}
	return nil
}

// empty reads an element that says it is nil to its end.
func (r *Reader) empty(el *Element) error {
	text, err := r.Text()
	if err != nil || collapse(text) == "" {
		return err
	}
	return r.Find(StrayText, el.Name)
}

// element reads one element of a field into v, a value of its element type.
func (r *Reader) element(el *Element, f *field, v reflect.Value) error {
	switch f.kind {
	case kindAny:
		return r.any(el, v)
	case kindStruct, kindExtended:
		p, err := r.typeOf(el, f)
		if err != nil {
			return err
		}
		if f.kind == kindStruct {
			return r.structure(el, p, v)
		}
		item := reflect.New(p.typ)
		v.Set(item)
		return r.structure(el, p, item.Elem())
	}
	if el.typ != nil && el.typ.Space != SchemaURI { // stacks that say xsi:type everywhere say xs:string
		if err := r.Find(UnknownType, *el.typ); err != nil {
			return err
		}
	}
	text, err := r.Text()
	if err != nil {
		return err
	}
	if err := parse(f.kind, text, v); err != nil {
		r.path = append(r.path, el.step())
		return r.fail(Syntax, "not "+f.kind.schemaName())
	}
	return nil
}

// typeOf is the type an element has: the declared one unless xsi:type names one that
// extends it.
func (r *Reader) typeOf(el *Element, f *field) (*plan, error) {
	if el.typ == nil || *el.typ == f.plan.name {
		return f.plan, nil
	}
	p := r.schema.byName[*el.typ]
	switch {
	case p == nil:
		return f.plan, r.Find(UnknownType, *el.typ)
	case f.kind == kindExtended && reflect.PointerTo(p.typ).Implements(f.elem):
		return p, nil
	}
	return nil, r.fail(WrongType, shown(el.typ.Local))
}

// any reads an element of xs:anyType.
func (r *Reader) any(el *Element, v reflect.Value) error {
	if el.typ != nil {
		if p := r.schema.byName[*el.typ]; p != nil {
			item := reflect.New(p.typ)
			v.Set(item)
			return r.structure(el, p, item.Elem())
		}
	}
	known := el.typ == nil || el.typ.Space == SchemaURI && simple(el.typ.Local)
	if !known {
		if err := r.Find(UnknownType, *el.typ); err != nil {
			return err
		}
	}
	text, err := r.Text()
	if err != nil {
		return err
	}
	if !known {
		v.Set(reflect.ValueOf(Raw{*el.typ, text}))
		return nil
	}
	local := "string"
	if el.typ != nil {
		local = el.typ.Local
	}
	value, err := parseSimple(local, text)
	if err != nil {
		r.path = append(r.path, el.step())
		return r.fail(Syntax, "not xs:"+local)
	}
	v.Set(reflect.ValueOf(value))
	return nil
}

// simple names the types of XML Schema that an any value is read as.
func simple(local string) bool {
	_, err := parseSimple(local, "")
	return !errors.Is(err, errUnknownSimple)
}

var errUnknownSimple = errors.New("no type that is read")

func parseSimple(local, text string) (v any, err error) {
	switch local {
	case "string":
		return text, nil
	case "boolean":
		return parseBool(text)
	case "int":
		n, err := parseInt(text, 32)
		return int32(n), err
	case "long":
		return parseInt(text, 64)
	case "double":
		return parseDouble(text)
	case "dateTime":
		return parseTime(text)
	case "base64Binary":
		return parseBytes(text)
	}
	return nil, errUnknownSimple
}

// parse reads the text of a typed element.
func parse(k kind, text string, v reflect.Value) error {
	if k == kindString {
		v.SetString(text)
		return nil
	}
	value, err := parseSimple(k.schemaName()[len("xs:"):], text)
	if err != nil {
		return err
	}
	v.Set(reflect.ValueOf(value).Convert(v.Type()))
	return nil
}

func (k kind) schemaName() string {
	switch k {
	case kindBool:
		return "xs:boolean"
	case kindInt32:
		return "xs:int"
	case kindInt64:
		return "xs:long"
	case kindTime:
		return "xs:dateTime"
	case kindBytes:
		return "xs:base64Binary"
	}
	return "xs:string"
}

// step is the element's place in a path; for errors that are found when it has ended.
func (el *Element) step() step { return step{el.Name.Local, el.item} }
