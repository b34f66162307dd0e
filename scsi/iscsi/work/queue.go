package work

import "sync"

// keepIdle is how many workers of one queue stay when there is nothing to do.
const keepIdle = 32

// Queue hands jobs to workers in order. A worker that takes a job while more are
// waiting wakes another, so that a slow job never keeps the rest, and that a burst
// of quick ones is done by few.
//
// Answers leave in batches: a worker flushes when it finds no job, and before it
// runs the last one. As whoever takes another has woken a further worker, the last
// one always has a taker, and no answer waits for a slow job. Safe for concurrent use.
type Queue[J any] struct {
	mu       sync.Mutex
	wake     sync.Cond
	jobs     []J // from head on
	head     int
	workers  int
	idle     int
	maximum  int
	closed   bool
	run      func(J)
	flush    func()
	finished sync.WaitGroup
}

// NewQueue returns a queue with up to maximum workers that run its jobs; flush
// carries what they have left to be sent.
func NewQueue[J any](maximum int, run func(J), flush func()) *Queue[J] {
	q := &Queue[J]{maximum: maximum, run: run, flush: flush}
	q.wake.L = &q.mu
	return q
}

// Push adds a job; nobody is woken before Kick. A closed queue takes none and
// returns false.
func (q *Queue[J]) Push(j J) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.jobs = append(q.jobs, j)
	return true
}

// Kick sees to it that a worker is at the jobs pushed so far.
func (q *Queue[J]) Kick() {
	q.mu.Lock()
	q.kickLocked()
	q.mu.Unlock()
}

func (q *Queue[J]) kickLocked() {
	switch {
	case q.head == len(q.jobs):
	case q.idle > 0:
		q.wake.Signal()
	case q.workers < q.maximum:
		q.workers++
		q.finished.Add(1)
		go q.work()
	}
}

func (q *Queue[J]) work() {
	defer q.finished.Done()
	unflushed := false
	q.mu.Lock()
	for {
		for q.head == len(q.jobs) {
			if unflushed {
				unflushed = false
				q.mu.Unlock()
				q.flush()
				q.mu.Lock()
				continue
			}
			if q.closed || q.idle >= keepIdle {
				q.workers--
				q.mu.Unlock()
				return
			}
			q.idle++
			q.wake.Wait()
			q.idle--
		}
		var none J
		j := q.jobs[q.head]
		q.jobs[q.head] = none
		q.head++
		last := q.head == len(q.jobs)
		if last {
			q.jobs, q.head = q.jobs[:0], 0
		} else {
			q.kickLocked()
		}
		q.mu.Unlock()
		if last {
			q.flush()
		}
		q.run(j)
		unflushed = true
		q.mu.Lock()
	}
}

// Close lets the workers end once the queue is empty, and waits for them.
func (q *Queue[J]) Close() {
	q.mu.Lock()
	q.closed = true
	q.wake.Broadcast()
	q.kickLocked()
	q.mu.Unlock()
	q.finished.Wait()
}
