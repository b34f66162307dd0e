package badger

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// syncer puts everything that was committed on stable storage. Badger's Sync
// leaves out a memory table's log that was rotated and not yet flushed, and value
// logs rotated since; so the files are synced through descriptors of our own:
// value logs first, as the other logs point into them, then memory table logs. A
// file that vanished meanwhile became a table, which Badger syncs itself.
//
// One sync serves all who asked before it began.
type syncer struct {
	dir string

	mu      sync.Mutex
	changed sync.Cond  // a round has ended
	next    *syncRound // the round that those who ask now will share
	running bool

	oldest string // newest value log of the last sync: older ones need no other; runner only
	known  string // names of the last sync, to see new directory entries; runner only

	ids     sync.Mutex
	written uint64 // highest record id committed
	stable  uint64 // highest record id on stable storage
}

type syncRound struct {
	ended bool
	err   error
}

func newSyncer(dir string) *syncer {
	s := &syncer{dir: dir}
	s.changed.L = &s.mu
	return s
}

// committed notes that a record with this id is committed.
func (s *syncer) committed(id uint64) {
	s.ids.Lock()
	s.written = max(s.written, id)
	s.ids.Unlock()
}

// durable is the highest record id that is on stable storage.
func (s *syncer) durable() uint64 {
	s.ids.Lock()
	defer s.ids.Unlock()
	return s.stable
}

// sync returns when everything committed before the call is on stable storage.
func (s *syncer) sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = &syncRound{}
	}
	mine := s.next
	for !mine.ended {
		if s.running {
			s.changed.Wait()
			continue
		}
		// Nobody runs, so that the next round is still mine.
		s.running, s.next = true, nil
		s.mu.Unlock()
		err := s.files()
		s.mu.Lock()
		mine.err, mine.ended, s.running = err, true, false
		s.changed.Broadcast()
	}
	return mine.err
}

// files syncs the logs once.
func (s *syncer) files() error {
	s.ids.Lock()
	upTo := s.written
	s.ids.Unlock()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	var values, tables []string
	for _, f := range entries {
		switch name := f.Name(); {
		case strings.HasSuffix(name, ".vlog") && name >= s.oldest:
			values = append(values, name)
		case strings.HasSuffix(name, ".mem"):
			tables = append(tables, name)
		}
	}
	sort.Strings(values)
	for _, name := range append(values, tables...) {
		if err := syncFile(filepath.Join(s.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if names := strings.Join(append(values, tables...), " "); names != s.known {
		if err := syncFile(s.dir); err != nil {
			return err
		}
		s.known = names
	}
	if len(values) > 0 {
		s.oldest = values[len(values)-1]
	}
	s.ids.Lock()
	s.stable = max(s.stable, upTo)
	s.ids.Unlock()
	return nil
}

func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(fdatasync(f, name), f.Close())
}

func fdatasync(f *os.File, name string) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &fs.PathError{Op: "fdatasync", Path: name, Err: err}
		}
		return nil
	}
}
