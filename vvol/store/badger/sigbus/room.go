package sigbus

import (
	"errors"
	"math"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// Room is blocks of a file system that faults may use. Safe for concurrent use.
type Room struct{ slot int }

// state is what a process has one of, as it has one handler of a signal. The handler reads
// it, and knows the layout from the compiler.
type state struct {
	slots   [maxRooms]slot
	running atomic.Int32 // handlers that may use a slot's descriptor
	next    uintptr      // the handler that was there before, Go's

	mu    sync.Mutex
	files [maxRooms]*os.File // of slots; they stay open for as long as the handler may use them
}

var process state

// slot is what the handler knows of a room.
type slot struct {
	fd    atomic.Int32
	tries atomic.Int32 // faults that the room may still be given up for; <= 0: no room
}

const (
	// maxRooms bounds the rooms of a process.
	maxRooms = 256
	// maxTries bounds the faults of a room, each of which but the first waits a millisecond before
	// the write goes again: those of several threads at once, and of one that others were faster than.
	maxTries = 64
)

// ErrTooMany is more than 256 rooms in a process.
var ErrTooMany = errors.New("too many engines in one process")

// Hold lets faults of this process on f's file system use the blocks of f, which it takes over.
// A fault does not tell whose it is: it gives up all rooms of the process. Errors: ErrTooMany,
// and the system's when the handler cannot be installed; then f is still the caller's.
func Hold(f *os.File) (*Room, error) {
	if err := install(); err != nil {
		return nil, err
	}
	p := &process
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.files[:], nil)
	if i < 0 {
		return nil, ErrTooMany
	}
	p.files[i] = f
	p.slots[i].fd.Store(int32(f.Fd()))
	p.slots[i].tries.Store(maxTries)
	return &Room{slot: i}, nil
}

// Spent tells whether a fault has used the room: the file is empty then.
func (r *Room) Spent() bool { return process.slots[r.slot].tries.Load() != maxTries }

// Release closes the file, which keeps its blocks unless they are spent. Nothing of the room may
// be called any more.
func (r *Room) Release() error {
	return r.leave().Close()
}

// Spend gives the blocks up and closes the file. Nothing of the room may be called any more.
func (r *Room) Spend() error {
	f := r.leave()
	return errors.Join(f.Truncate(0), f.Close())
}

// leave takes the file from the handler.
func (r *Room) leave() *os.File {
	p := &process
	p.slots[r.slot].tries.Store(math.MinInt32 / 2) // which a fault that has looked before counts down from
	for p.running.Load() != 0 {                    // some microseconds; the descriptor may be another file's next
		runtime.Gosched()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.files[r.slot]
	p.files[r.slot] = nil
	return f
}
