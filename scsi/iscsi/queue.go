package iscsi

import "sync"

// job is something a worker does: a command to execute, or a function that may
// block.
type job struct {
	command *command
	call    func()
}

// keepIdle is how many workers of one connection stay when there is nothing to do.
const keepIdle = 32

// queue hands jobs to workers in order. A worker that takes a job while more are
// waiting wakes another, so that a slow command never keeps the rest, and that a
// burst of quick ones is done by few.
//
// Answers leave in batches: a worker flushes when it finds no job, and before it
// runs the last one. As whoever takes another has woken a further worker, the
// last one always has a taker, and no answer waits for a slow command.
type queue struct {
	mu       sync.Mutex
	wake     sync.Cond
	jobs     []job // from head on
	head     int
	workers  int
	idle     int
	maximum  int
	closed   bool
	run      func(*command)
	flush    func() // carries what jobs have put into the outbox
	finished sync.WaitGroup
}

func (q *queue) init(maximum int, run func(*command), flush func()) {
	q.wake.L = &q.mu
	q.maximum, q.run, q.flush = maximum, run, flush
}

// push adds a job; nobody is woken before kick. A closed queue takes none and
// returns false.
func (q *queue) push(j job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.jobs = append(q.jobs, j)
	return true
}

// kick sees to it that a worker is at the jobs pushed so far.
func (q *queue) kick() {
	q.mu.Lock()
	q.kickLocked()
	q.mu.Unlock()
}

func (q *queue) kickLocked() {
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

func (q *queue) work() {
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
		j := q.jobs[q.head]
		q.jobs[q.head] = job{}
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
		if j.call != nil {
			j.call()
		} else {
			q.run(j.command)
		}
		unflushed = true
		q.mu.Lock()
	}
}

// close lets the workers end once the queue is empty, and waits for them.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.wake.Broadcast()
	q.kickLocked()
	q.mu.Unlock()
	q.finished.Wait()
}
