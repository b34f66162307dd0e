package pe

import (
	"context"
	"slices"
	"sync"
	"time"

	"vvsim/scsi/device"
)

// burst is how much of its rate a volume that was idle may use at once. One I/O may go
// at any time when nothing is owed, however large: what it is beyond the burst is owed.
const burst = 100 * time.Millisecond

// rates are limits of one volume; zero is none.
type rates struct{ iops, bytes uint64 } // per second

// bucket is one limit: what has passed is paid for at the time due.
type bucket struct {
	rate uint64 // per second; 0: no limit
	due  time.Duration
}

func (b *bucket) delay(now time.Duration) time.Duration {
	if b.rate == 0 {
		return 0
	}
	return b.due - now
}

func (b *bucket) charge(now time.Duration, n uint64) {
	if b.rate > 0 {
		b.due = max(b.due, now-burst) + time.Duration((n*uint64(time.Second)+b.rate-1)/b.rate)
	}
}

// set changes the rate; what is owed is paid at the new one.
func (b *bucket) set(now time.Duration, rate uint64) {
	if owed := b.due - now; owed > 0 && rate > 0 {
		b.due = now + time.Duration(float64(owed)*float64(b.rate)/float64(rate))
	} else if b.rate == 0 || rate == 0 {
		b.due = now // a burst is earned under a limit
	}
	b.rate = rate
}

// limiter lets I/O pass at the rates of one volume, in order of arrival. Who waits first
// watches the clock, the others wait for those before them, so that one who leaves holds
// up nobody. Safe for concurrent use; it has no goroutine.
type limiter struct {
	start time.Time

	mu      sync.Mutex // guards what follows
	iops    bucket
	bytes   bucket
	waiting []chan struct{} // in order; a value tells the first to look again
}

func newLimiter(r rates) *limiter {
	l := &limiter{start: time.Now()}
	l.set(r)
	return l
}

func (l *limiter) rates() rates {
	l.mu.Lock()
	defer l.mu.Unlock()
	return rates{l.iops.rate, l.bytes.rate}
}

// set changes the rates, at once for those who wait.
func (l *limiter) set(r rates) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Since(l.start)
	l.iops.set(now, r.iops)
	l.bytes.set(now, r.bytes)
	l.wakeFirst()
}

// wait returns when an I/O of some bytes may pass, or when ctx ends; then it does not count.
func (l *limiter) wait(ctx context.Context, bytes uint64) {
	l.mu.Lock()
	if len(l.waiting) == 0 && l.pass(bytes) <= 0 {
		l.mu.Unlock()
		return
	}
	if len(l.waiting) >= device.MaxTasks {
		l.mu.Unlock()
		return // to be told TASK SET FULL
	}
	turn := make(chan struct{}, 1)
	l.waiting = append(l.waiting, turn)
	l.mu.Unlock()
	for l.look(ctx, turn, bytes) {
	}
}

// look waits for a reason to look again, unless the I/O may pass or was given up.
func (l *limiter) look(ctx context.Context, turn chan struct{}, bytes uint64) (again bool) {
	var clock <-chan time.Time
	l.mu.Lock()
	if l.waiting[0] == turn {
		delay := l.pass(bytes)
		if delay <= 0 {
			l.leave(turn)
			l.mu.Unlock()
			return false
		}
		timer := time.NewTimer(delay)
		defer timer.Stop()
		clock = timer.C
	}
	l.mu.Unlock()
	select {
	case <-turn:
	case <-clock:
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		l.leave(turn)
		return false
	}
	return true
}

// pass counts an I/O if it may pass now; else it returns how long it has to wait.
func (l *limiter) pass(bytes uint64) time.Duration {
	now := time.Since(l.start)
	if d := max(l.iops.delay(now), l.bytes.delay(now)); d > 0 {
		return d
	}
	l.iops.charge(now, 1)
	l.bytes.charge(now, bytes)
	return 0
}

// leave takes one out of those who wait.
func (l *limiter) leave(turn chan struct{}) {
	at := slices.Index(l.waiting, turn)
	l.waiting = slices.Delete(l.waiting, at, at+1)
	if at == 0 {
		l.wakeFirst()
	}
}

func (l *limiter) wakeFirst() {
	if len(l.waiting) == 0 {
		return
	}
	select {
	case l.waiting[0] <- struct{}{}:
	default: // told already
	}
}
