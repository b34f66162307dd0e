package line

import "time"

// Queue holds what is to go until its Line lets it, in order. Guarded by its owner's lock.
type Queue struct {
	line    *Line
	judged  *state // by which the times are
	waiting []waiting
	size    int
}

type waiting struct {
	b     *Batch
	n     int
	due   time.Time
	still bool // not before the line changes
}

// NewQueue returns the queue of a line.
func NewQueue(l *Line) *Queue { return &Queue{line: l} }

// Holds tells whether what is to go has to take its place in the queue, and of how many
// bytes at most a part of it is; 0 for any number.
func (q *Queue) Holds() (piece int, held bool) {
	_, out := q.line.state.Load().ways()
	if out == nil {
		return 0, len(q.waiting) > 0
	}
	return out.Piece(), true
}

// Push puts n bytes behind all that waits.
func (q *Queue) Push(b *Batch, n int) {
	s := q.line.state.Load()
	q.judge(s)
	_, out := s.ways()
	at, ok := due(out, n)
	q.waiting = append(q.waiting, waiting{b, n, at, !ok})
	q.size += n
}

// Size is how many bytes wait.
func (q *Queue) Size() int { return q.size }

func (q *Queue) judge(s *state) {
	if q.judged == s {
		return
	}
	q.judged = s
	_, out := s.ways()
	for k := range q.waiting {
		at, ok := due(out, q.waiting[k].n)
		q.waiting[k].due, q.waiting[k].still = at, !ok
	}
}

// Take takes the first that may go, nil for none. When there is one that may not yet, wait is
// how to wait for it, without the owner's lock. Of a closed connection all may go.
func (q *Queue) Take() (b *Batch, wait func()) {
	if len(q.waiting) == 0 {
		return nil, nil
	}
	s := q.line.state.Load()
	q.judge(s)
	first := q.waiting[0]
	if _, out := s.ways(); s != nil && !q.line.closed() && (first.still || !passed(out, first.due)) {
		return nil, func() { q.line.wait(s, out, first.due) }
	}
	q.waiting = q.waiting[1:]
	q.size -= first.n
	return first.b, nil
}
