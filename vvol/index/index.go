package index

import "slices"

// Of leads a property to the things that have it, by their ids.
type Of[K, V comparable] map[K]*Set[V]

// Add notes that id has k. Once more is the same.
func (x Of[K, V]) Add(k K, id V) {
	s := x[k]
	if s == nil {
		s = &Set[V]{}
		x[k] = s
	}
	s.add(id)
}

// Remove notes that id has k no more, if it had.
func (x Of[K, V]) Remove(k K, id V) {
	if s := x[k]; s != nil && s.remove(id) == 0 {
		delete(x, k)
	}
}

// Size is how many have k.
func (x Of[K, V]) Size(k K) int {
	if s := x[k]; s != nil {
		return s.Size()
	}
	return 0
}

// Each yields the ids under k, in no order.
func (x Of[K, V]) Each(k K, yield func(V)) {
	if s := x[k]; s != nil {
		s.each(yield)
	}
}

// List returns the ids under k, in no order.
func (x Of[K, V]) List(k K) (ids []V) {
	x.Each(k, func(id V) { ids = append(ids, id) })
	return ids
}

// Set is a set of ids: most hold one or a few, a few hold nearly all.
type Set[V comparable] struct {
	few  []V
	many map[V]struct{} // instead of few once that is full
}

const setFew = 16

func (s *Set[V]) add(id V) {
	if s.many != nil {
		s.many[id] = struct{}{}
		return
	}
	if slices.Contains(s.few, id) {
		return
	}
	if len(s.few) < setFew {
		s.few = append(s.few, id)
		return
	}
	s.many = map[V]struct{}{id: {}}
	for _, old := range s.few {
		s.many[old] = struct{}{}
	}
	s.few = nil
}

// remove returns how many are left.
func (s *Set[V]) remove(id V) int {
	if s.many != nil {
		delete(s.many, id)
	} else if at := slices.Index(s.few, id); at >= 0 {
		s.few = slices.Delete(s.few, at, at+1)
	}
	return s.Size()
}

// Size is how many there are.
func (s *Set[V]) Size() int { return len(s.few) + len(s.many) }

func (s *Set[V]) each(yield func(V)) {
	for _, id := range s.few {
		yield(id)
	}
	for id := range s.many {
		yield(id)
	}
}
