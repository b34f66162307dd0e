package session

import (
	"errors"
	"sync"
)

// Errors of queues.
var (
	// ErrInvalidID is an id that was never given out.
	ErrInvalidID = errors.New("the id was not given out")
	// ErrLostEvent and ErrLostAlarm say that the id does not continue the queue: the
	// client starts over with -1.
	ErrLostEvent = errors.New("events were lost")
	ErrLostAlarm = errors.New("alarms were lost")
)

// Limits of a queue.
const (
	MaxQueued = 1024 // items that wait; when there are more, the oldest are lost
	MaxAnswer = 100  // items of one answer (vasa.md 1.6)
)

// StartOver is the id with which a client asks for all that is pending.
const StartOver = -1

// Queue holds what one client was not told yet, numbered for it: ids rise by one from
// the origin, and are given anew when the client starts over. The zero value is not
// ready, see newQueue.
type Queue[T any] struct {
	mu      sync.Mutex
	lostErr error
	origin  int64 // the first id after StartOver
	items   []item[T]
	given   int   // items at the front that were given out and not acknowledged
	last    int64 // id of the last of them, or of what was acknowledged; origin-1 for none
	started bool  // the client has started over once
	lost    bool  // items were dropped that it never got
}

type item[T any] struct {
	key   string
	value T
}

func newQueue[T any](origin int64, lost error) *Queue[T] {
	return &Queue[T]{lostErr: lost, origin: origin, last: origin - 1}
}

// Put adds an item. One that is not given out yet and has the same key, unless that is
// empty, is replaced: the newer says it all.
func (q *Queue[T]) Put(key string, value T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.put(key, value)
}

func (q *Queue[T]) put(key string, value T) {
	if key != "" {
		for i := q.given; i < len(q.items); i++ {
			if q.items[i].key == key {
				q.items = append(q.items[:i], q.items[i+1:]...)
				break
			}
		}
	}
	q.items = append(q.items, item[T]{key, value})
	if over := len(q.items) - MaxQueued; over > 0 {
		q.items = append(q.items[:0:0], q.items[over:]...)
		if q.lost = true; q.given >= over {
			q.given -= over
		} else {
			q.given = 0
		}
	}
}

// Lost notes that items could not be put: the client will have to start over.
func (q *Queue[T]) Lost() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lost = true
}

// Lose drops all items: the client will have to start over, and get what comes then.
func (q *Queue[T]) Lose() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items, q.given, q.lost = nil, 0, true
}

// Numbered is an item with its id.
type Numbered[T any] struct {
	ID    int64
	Value T
}

// After gives out up to MaxAnswer items behind the one with id last, and forgets those up
// to it. StartOver numbers anew all that is pending, and what a restart function, if any,
// returns instead of it. Errors: ErrInvalidID, or the queue's error for lost items.
func (q *Queue[T]) After(last int64, restart func() []T) ([]Numbered[T], error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case last < StartOver:
		return nil, ErrInvalidID
	case last == StartOver:
		q.startOver(restart)
	case !q.started: // of an earlier life of the provider
		return nil, q.lostErr
	case last > q.last:
		return nil, ErrInvalidID
	case last < q.last || q.lost:
		return nil, q.lostErr
	}
	q.items = q.items[q.given:]
	q.given = min(len(q.items), MaxAnswer)
	list := make([]Numbered[T], q.given)
	for i := range list {
		q.last++
		list[i] = Numbered[T]{q.last, q.items[i].value}
	}
	return list, nil
}

func (q *Queue[T]) startOver(restart func() []T) {
	q.started, q.lost, q.given, q.last = true, false, 0, q.origin-1
	if restart == nil {
		return
	}
	q.items = nil
	for _, v := range restart() {
		q.put("", v)
	}
}
