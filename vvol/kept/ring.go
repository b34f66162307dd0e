package kept

import (
	"maps"
	"slices"
)

// Ring keeps values in order of a rising number, with removal anywhere. The zero value is
// empty.
type Ring[T any] struct {
	order []uint64
	rows  map[uint64]T
}

// Put adds a value, or replaces the one that has the number.
func (r *Ring[T]) Put(n uint64, v T) {
	if r.rows == nil {
		r.rows = map[uint64]T{}
	}
	if _, has := r.rows[n]; !has {
		at, _ := slices.BinarySearch(r.order, n)
		r.order = slices.Insert(r.order, at, n)
	}
	r.rows[n] = v
}

// Remove does nothing when there is no such value. Near either end it takes little time.
func (r *Ring[T]) Remove(n uint64) {
	if _, has := r.rows[n]; !has {
		return
	}
	delete(r.rows, n)
	at, _ := slices.BinarySearch(r.order, n)
	if at < len(r.order)/2 {
		copy(r.order[1:at+1], r.order[:at])
		r.order = r.order[1:]
	} else {
		r.order = slices.Delete(r.order, at, at+1)
	}
}

// Get returns the value with a number; the zero value when there is none.
func (r *Ring[T]) Get(n uint64) T { return r.rows[n] }

// Len is the number of values.
func (r *Ring[T]) Len() int { return len(r.order) }

// From returns up to n values with numbers of at least first, in order.
func (r *Ring[T]) From(first uint64, n int) []T {
	at, _ := slices.BinarySearch(r.order, first)
	list := make([]T, 0, min(max(n, 0), len(r.order)-at))
	for _, k := range r.order[at:] {
		if len(list) >= n {
			break
		}
		list = append(list, r.rows[k])
	}
	return list
}

// All returns the values in no order.
func (r *Ring[T]) All() []T { return slices.Collect(maps.Values(r.rows)) }
