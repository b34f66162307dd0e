package network

import (
	"sync"
	"time"

	"vvsim/scsi/iscsi/line"
)

var _, _, _ line.Way = Still{}, Late{}, (*Lane)(nil)

// Still lets nothing on, by any clock.
type Still struct{}

// Clock implements line.Way.
func (Still) Clock() line.Clock { return line.Wall{} }

// Due implements line.Way.
func (Still) Due(int) time.Time { return time.Time{} }

// Piece implements line.Way.
func (Still) Piece() int { return 0 }

// Late lets bytes on after a while, by its clock.
type Late struct {
	By    line.Clock
	Pause func() time.Duration
}

// Clock implements line.Way.
func (l Late) Clock() line.Clock { return l.By }

// Due implements line.Way.
func (l Late) Due(n int) time.Time {
	now := l.By.Now()
	if n == 0 {
		return now
	}
	return now.Add(l.Pause())
}

// Piece implements line.Way.
func (Late) Piece() int { return 0 }

// Lane is one direction that all who use it share.
type Lane struct {
	rate  int64 // bytes a second; fixed
	clock line.Clock

	mu   sync.Mutex
	next time.Time // when all that was let on has passed
}

const (
	laneBurst    = 10 * time.Millisecond // what an idle lane saves
	laneTick     = 50 * time.Millisecond // what goes on at once takes no longer
	minLanePiece = 512
	maxLanePiece = 64 << 10
)

// NewLane returns a lane for rate bytes a second, above 0, by a clock.
func NewLane(rate int64, c line.Clock) *Lane { return &Lane{rate: rate, clock: c} }

// Clock implements line.Way.
func (l *Lane) Clock() line.Clock { return l.clock }

// Due implements line.Way.
func (l *Lane) Due(n int) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.Now()
	if n == 0 {
		return now
	}
	if earliest := now.Add(-laneBurst); l.next.Before(earliest) {
		l.next = earliest
	}
	l.next = l.next.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
	return l.next
}

// Piece implements line.Way.
func (l *Lane) Piece() int {
	return int(min(max(l.rate/int64(time.Second/laneTick), minLanePiece), maxLanePiece))
}
