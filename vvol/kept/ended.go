package kept

import (
	"sort"
	"time"
)

// Limits say how long what has ended is kept.
type Limits struct {
	Least  int           // are kept however old they are
	Most   int           // are kept, however young
	For    time.Duration // after its end, others are kept
	AtOnce int           // go at a time
}

// Ended lists numbers of what has ended, that which ended first first. The zero value is
// empty.
type Ended struct{ list []end }

type end struct {
	number uint64
	at     int64 // ns of Unix time
}

// Add notes an end. At the end of the list, where it belongs but for a clock that was set
// back, it takes little time.
func (e *Ended) Add(number uint64, at time.Time) {
	x := end{number, at.UnixNano()}
	i := len(e.list)
	if i > 0 && e.list[i-1].at > x.at {
		i = sort.Search(len(e.list), func(k int) bool { return e.list[k].at > x.at })
	}
	e.list = append(e.list, x)
	copy(e.list[i+1:], e.list[i:])
	e.list[i] = x
}

// Remove takes one off the list that ended at that time, and does nothing when there is none.
// At the beginning of the list it takes little time.
func (e *Ended) Remove(number uint64, at time.Time) {
	ns := at.UnixNano()
	i := sort.Search(len(e.list), func(k int) bool { return e.list[k].at >= ns })
	for ; i < len(e.list) && e.list[i].at == ns; i++ {
		if e.list[i].number == number {
			copy(e.list[1:i+1], e.list[:i])
			e.list = e.list[1:]
			return
		}
	}
}

// Len is how many have ended.
func (e *Ended) Len() int { return len(e.list) }

// Due lists what goes when more are about to be added.
func (e *Ended) Due(now time.Time, more int, l Limits) (numbers []uint64) {
	old := now.Add(-l.For).UnixNano()
	for i, x := range e.list {
		count := len(e.list) + more - i
		if len(numbers) >= l.AtOnce || count <= l.Most && (count <= l.Least || x.at > old) {
			break
		}
		numbers = append(numbers, x.number)
	}
	return numbers
}
