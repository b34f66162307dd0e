package door

import "sync"

// Quota bounds units, bytes or requests, that holders have at one time: all together, and
// each. New makes one.
type Quota struct {
	all, each int64

	mu   sync.Mutex // guards what follows
	used int64
	held map[string]int64 // by holder, without those that hold nothing
}

// NewQuota returns a Quota of as many units for all together, and for each holder.
func NewQuota(all, each int64) *Quota {
	return &Quota{all: all, each: each, held: map[string]int64{}}
}

// Take gives n units to a holder; false when there are not that many. Give takes them back.
func (q *Quota) Take(holder string, n int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.used+n > q.all || q.held[holder]+n > q.each {
		return false
	}
	q.add(holder, n)
	return true
}

// Charge counts n units that a holder has already, beyond what it may have if need be: it
// gets none until they are given back.
func (q *Quota) Charge(holder string, n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(holder, n)
}

// Give takes back n units.
func (q *Quota) Give(holder string, n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(holder, -n)
}

func (q *Quota) add(holder string, n int64) {
	q.used += n
	if q.held[holder] += n; q.held[holder] == 0 {
		delete(q.held, holder)
	}
}

// Used tells how many units are held.
func (q *Quota) Used() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.used
}
