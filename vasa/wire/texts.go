package wire

import (
	"iter"
	"reflect"
	"sync"
)

// Texts yields the texts in a request, a pointer to a struct of the contract, in their order.
// Left out are metadata and constraints on them, which mean something to clients alone,
// profiles, and the words of enumerations.
func Texts(request any) iter.Seq[string] {
	return func(yield func(string) bool) {
		if walk := walks()[reflect.TypeOf(request)]; walk != nil {
			walk(reflect.ValueOf(request), yield)
		}
	}
}

// walk yields the texts in a value of one type; false when yield has had enough.
type walk func(v reflect.Value, yield func(string) bool) bool

// walks are those of pointers to requests; nil for one without texts.
var walks = sync.OnceValue(func() map[reflect.Type]walk {
	all := map[reflect.Type]walk{}
	for _, o := range table().all {
		t := reflect.PointerTo(o.Request)
		all[t] = newWalk(t)
	}
	return all
})

// newWalk ends for all types of the contract: where they contain each other it is through
// interfaces, which are not entered.
func newWalk(t reflect.Type) walk {
	switch t.Kind() {
	case reflect.String:
		if t == reflect.TypeFor[string]() {
			return func(v reflect.Value, yield func(string) bool) bool { return yield(v.String()) }
		}
	case reflect.Pointer:
		if inner := newWalk(t.Elem()); inner != nil {
			return func(v reflect.Value, yield func(string) bool) bool { return v.IsNil() || inner(v.Elem(), yield) }
		}
	case reflect.Slice:
		if inner := newWalk(t.Elem()); inner != nil {
			return func(v reflect.Value, yield func(string) bool) bool {
				for i := range v.Len() {
					if !inner(v.Index(i), yield) {
						return false
					}
				}
				return true
			}
		}
	case reflect.Struct:
		return newStructWalk(t)
	}
	return nil
}

func newStructWalk(t reflect.Type) walk {
	if t == reflect.TypeFor[NameValuePair]() || t == reflect.TypeFor[QueryConstraint]() {
		return nil
	}
	type field struct {
		index int
		walk  walk
	}
	var fields []field
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() {
			if w := newWalk(f.Type); w != nil {
				fields = append(fields, field{i, w})
			}
		}
	}
	if len(fields) == 0 {
		return nil
	}
	return func(v reflect.Value, yield func(string) bool) bool {
		for _, f := range fields {
			if !f.walk(v.Field(f.index), yield) {
				return false
			}
		}
		return true
	}
}
