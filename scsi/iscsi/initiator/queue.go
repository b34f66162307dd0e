package initiator

import "slices"

// queue is a first-in first-out list that reuses its memory.
type queue[T any] struct {
	items []T
	head  int
}

func (q *queue[T]) len() int  { return len(q.items) - q.head }
func (q *queue[T]) front() *T { return &q.items[q.head] }
func (q *queue[T]) push(v T)  { q.items = append(q.items, v) }
func (q *queue[T]) clear()    { q.items, q.head = nil, 0 }

// pop drops the first item. Memory is reused once half of it has been popped.
func (q *queue[T]) pop() {
	q.items[q.head] = *new(T)
	if q.head++; q.head*2 >= len(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
}

// remove drops the items that match.
func (q *queue[T]) remove(match func(T) bool) {
	q.items = slices.DeleteFunc(slices.Delete(q.items, 0, q.head), match)
	q.head = 0
}
