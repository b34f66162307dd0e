package store

import (
	"sync"
	"time"
)

// MeterSpan is how far back a Meter's rate looks.
const MeterSpan = time.Minute

// meterSlots is the number of parts of MeterSpan, each of which is forgotten as a whole.
const meterSlots = 60

// Meter counts bytes, and tells how fast they came of late. It keeps no goroutine: what is
// added goes to the slot of its moment. The zero value is empty. Safe for concurrent use.
type Meter struct {
	mu    sync.Mutex
	total uint64
	slots [meterSlots]meterSlot
}

type meterSlot struct {
	number int64 // of slots since 1970
	n      uint64
}

func meterNow() int64 { return time.Now().UnixNano() / int64(MeterSpan/meterSlots) }

// Add counts n bytes now.
func (m *Meter) Add(n uint64) {
	now := meterNow()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.total += n
	s := &m.slots[now%meterSlots]
	if s.number != now {
		*s = meterSlot{number: now}
	}
	s.n += n
}

// Load is the sum of all that was added.
func (m *Meter) Load() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.total
}

// Rate is bytes per second over the last MeterSpan.
func (m *Meter) Rate() uint64 {
	now := meterNow()
	m.mu.Lock()
	defer m.mu.Unlock()
	var sum uint64
	for _, s := range m.slots {
		if s.number > now-meterSlots && s.number <= now {
			sum += s.n
		}
	}
	return sum / uint64(MeterSpan/time.Second)
}
