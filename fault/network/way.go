package network

import (
	"sync"
	"time"

	"vvsim/scsi/iscsi/line"
)

var _, _, _ line.Way = Still{}, Late{}, (*Lane)(nil)

// Still lets nothing on.
type Still struct{}

// Due implements line.Way.
func (Still) Due(int) time.Time { return time.Time{} }

// Piece implements line.Way.
func (Still) Piece() int { return 0 }

// Late lets bytes on after a while.
type Late struct{ Pause func() time.Duration }

// Due implements line.Way.
func (l Late) Due(n int) time.Time {
	if n == 0 {
		return time.Now()
	}
	return time.Now().Add(l.Pause())
}

// Piece implements line.Way.
func (Late) Piece() int { return 0 }

// Lane is one direction that all who use it share.
type Lane struct {
	rate int64 // bytes a second; fixed

	mu   sync.Mutex
	next time.Time // when all that was let on has passed
}

const (
	laneBurst    = 10 * time.Millisecond // what an idle lane saves
	laneTick     = 50 * time.Millisecond // what goes on at once takes no longer
	minLanePiece = 512
	maxLanePiece = 64 << 10
)

// NewLane returns a lane for rate bytes a second, above 0.
func NewLane(rate int64) *Lane { return &Lane{rate: rate} }

// Due implements line.Way.
func (l *Lane) Due(n int) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
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
