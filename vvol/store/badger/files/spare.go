package files

import (
	"errors"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"vvsim/vvol/store/badger/sigbus"
)

// spare is a file that holds nothing but room. It is given up while Badger may begin a table
// or the log of a memory table, whose first pages cannot be allocated ahead, so that they
// find room also when another process has taken the rest; and by a write to any mapped page
// that finds none (package sigbus), as to the first of a value log. It is taken back before
// anything else begins.
type spare struct {
	name  string
	bytes int64

	mu     sync.Mutex
	room   *sigbus.Room // nil: given up, or not to be had
	wanted bool         // not given up on purpose: nothing begins without it
	busy   int          // transactions that run
}

// Sizes of the spares.
const (
	spareBytes = 16 << 20 // a table, and the first pages of a log
	lastBytes  = 4 << 20  // of one that is given up by faults only: first pages
)

// roomyBytes is how much a file system must have left for Badger to find room in it without
// the spare: giving that up and taking it back takes milliseconds.
const roomyBytes = 256 << 20

// begin is called before a transaction, end after it. It fails with ENOSPC when the spare
// cannot be taken: then a transaction may end the process. When needed, it is given up, unless
// there is room without it; pending tells that what needed it last still does.
func (s *spare) begin(needed, pending bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.held() && (s.wanted || s.busy == 0 && !pending) {
		if err := s.take(); err != nil {
			return err
		}
	}
	if needed && s.held() && !s.roomy() {
		room := s.room
		s.room, s.wanted = nil, false
		if err := room.Spend(); err != nil {
			return err
		}
	}
	s.busy++
	return nil
}

// held tells whether the spare holds its room.
func (s *spare) held() bool { return s.room != nil && !s.room.Spent() }

// release lets go of the file as it is.
func (s *spare) release() error {
	room := s.room
	if s.room = nil; room == nil {
		return nil
	}
	return room.Release()
}

func (s *spare) roomy() bool {
	free, err := Free(s.name)
	return err == nil && free >= roomyBytes
}

// Free is how many bytes are left to this process in the file system of a path.
func Free(path string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	return s.Bavail * uint64(s.Bsize), nil
}

// giveUp makes room for what comes before the first transaction or after the last.
func (s *spare) giveUp() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = false
	err := os.Remove(s.name)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(s.release(), err)
}

func (s *spare) end(pending bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy--; s.busy == 0 && !s.held() && !pending {
		_ = s.take() // begin meets the error
	}
}

// take allocates the spare, which is not held, or nothing.
func (s *spare) take() error {
	if err := s.release(); err != nil {
		return err
	}
	f, err := os.OpenFile(s.name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, s.bytes)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = nil
	}
	if err != nil {
		err = &fs.PathError{Op: "fallocate", Path: s.name, Err: err}
	} else {
		s.room, err = sigbus.Hold(f)
	}
	if err != nil { // some file systems keep what there was
		return errors.Join(err, f.Truncate(0), f.Close())
	}
	s.wanted = true
	return nil
}
