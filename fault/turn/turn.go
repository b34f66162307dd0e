package turn

import (
	"slices"
	"sync"
	"time"
)

// Apart is how long each goes on after the one before it. The machine keeps to it about as well
// as its timers are; on the clock of a synctest bubble the order is exact.
const Apart = time.Microsecond

// Line is all who wait. The zero value is ready. Safe for concurrent use.
type Line struct {
	mu     sync.Mutex
	places []*Place // in the order in which they came
}

// Place is that of one who waits. Await is safe beside Leave, which is called once.
type Place struct{ l *Line }

// Enter takes the last place. It is given back by Leave.
func (l *Line) Enter() *Place {
	p := &Place{l}
	l.mu.Lock()
	l.places = append(l.places, p)
	l.mu.Unlock()
	return p
}

// Leave gives the place back; of nil, which is none, too.
func (p *Place) Leave() {
	if p == nil {
		return
	}
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	at := slices.Index(p.l.places, p)
	p.l.places = slices.Delete(p.l.places, at, at+1)
}

// Await is called when the event has come. It returns when all who came before, and wait or go
// on, have had their time to do so, or when done is closed. A place that was given back waits for
// nobody.
func (p *Place) Await(done <-chan struct{}) {
	p.l.mu.Lock()
	at := slices.Index(p.l.places, p)
	p.l.mu.Unlock()
	t := time.NewTimer(time.Duration(at+1) * Apart)
	defer t.Stop()
	select {
	case <-t.C:
	case <-done:
	}
}
