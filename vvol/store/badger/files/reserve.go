package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// reserve is the newest of the logs of one kind. Badger writes them through mappings of
// sparse files, where a full file system ends the process by SIGBUS; what is allocated
// before is safe.
type reserve struct {
	path, ext string
	digits    int

	mu       sync.Mutex
	number   uint64 // of the newest log; 0: not looked yet
	written  int64  // bytes that have been written, in whole pages
	reserved int64  // bytes that are allocated
	begun    int64  // bytes whose writing out has begun
	entry    int64  // where the last entry begins that was seen; of value logs
}

func (r *reserve) name(number uint64) string {
	return filepath.Join(r.path, fmt.Sprintf("%0*d%s", r.digits, number, r.ext))
}

// ahead allocates what Badger is going to write next, so many bytes. Where the file
// system does not know how, it does nothing.
func (r *reserve) ahead(need int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.follow(); err != nil || r.number == 0 {
		return err
	}
	f, err := os.OpenFile(r.name(r.number), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // became a table since
	}
	if err != nil {
		return err
	}
	err = r.extend(f, need)
	return errors.Join(err, f.Close())
}

// newest is the number of the newest log.
func (r *reserve) newest() (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.follow()
	return r.number, err
}

// follow finds the newest log: their numbers have no gaps.
func (r *reserve) follow() error {
	if r.number == 0 {
		names, err := filepath.Glob(filepath.Join(r.path, "*"+r.ext))
		if err != nil {
			return err
		}
		for _, name := range names {
			if n, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(name), r.ext), 10, 32); err == nil {
				r.number = max(r.number, n)
			}
		}
	}
	for {
		_, err := os.Stat(r.name(r.number + 1))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		r.number, r.written, r.reserved, r.begun, r.entry = r.number+1, 0, 0, 0, 0
	}
}

// position is a place in the newest log before which all has been written: where its last entry
// begins, which may be half written. What the file system counts as data tells nothing of that, as
// what the kernel has read ahead counts, too.
func (r *reserve) position() (p Position, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.follow(); err != nil || r.number == 0 {
		return p, err
	}
	p.File = r.number
	f, err := os.Open(r.name(r.number))
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	defer f.Close()
	r.entry = max(r.entry, LogHeader)
	for at := r.entry; ; {
		h, err := ReadEntryHeader(f, at)
		if err != nil || h.Key == 0 {
			p.Offset = uint64(r.entry)
			return p, err
		}
		r.entry = at
		at += h.Size()
	}
}

func (r *reserve) extend(f *os.File, need int64) error {
	// What is allocated and not written is a hole to lseek.
	hole, err := unix.Seek(int(f.Fd()), r.written, unix.SEEK_HOLE)
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOTSUP):
		return nil
	case errors.Is(err, unix.ENXIO):
		return nil // Badger has just cut the log to what it holds, and begins the next
	case err != nil:
		return &fs.PathError{Op: "lseek", Path: f.Name(), Err: err}
	}
	r.written = hole
	if err := r.writeOut(f); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil || info.Size() <= hole {
		return err
	}
	if r.reserved >= min(hole+need, info.Size()) {
		return nil
	}
	to := min(hole+2*need, info.Size())
	err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, hole, to-hole)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
	case err != nil:
		return &fs.PathError{Op: "fallocate", Path: f.Name(), Err: err}
	}
	r.reserved = to
	return nil
}

// largePage is the size of the kernel's large pages, see package values.
const largePage = 2 << 20

// writeOut has the kernel begin to write out what transactions have left behind, so that
// neither a sync nor Badger's next file, which begins with one of the last, keeps the disk
// and Badger's writer busy for long. The large page that is written to is left out: written
// out, it would fault again.
func (r *reserve) writeOut(f *os.File) error {
	to := (r.written/largePage - 1) * largePage
	if to <= r.begun {
		return nil
	}
	if err := unix.SyncFileRange(int(f.Fd()), r.begun, to-r.begun, unix.SYNC_FILE_RANGE_WRITE); err != nil {
		return &fs.PathError{Op: "sync_file_range", Path: f.Name(), Err: err}
	}
	r.begun = to
	return nil
}

// unwritten is how much of a log with a name is allocated ahead, in bytes.
func (r *reserve) unwritten(name string) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.number == 0 || name != filepath.Base(r.name(r.number)) {
		return 0
	}
	return uint64(max(r.reserved-r.written, 0))
}

// memTableAhead is how much of the log of a memory table is allocated ahead, in bytes:
// more than what transactions put there that are committed at a time.
const memTableAhead = 1 << 20

// near tells whether the log may reach a size within so many bytes, upon which Badger
// begins the next. What was written since the last call of ahead is not counted.
func (r *reserve) near(need, size int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.written+need >= size
}

// rotated tells whether the log before the newest is still there.
func (r *reserve) rotated() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err := os.Stat(r.name(r.number - 1))
	return err == nil
}

// Begin makes room for a transaction, and End tells that it is over: it allocates what
// the transactions that run will write, of value logs so many bytes, and more by
// NextLogBytes. It fails with ENOSPC when there is no room; then End is not to be called.
func (d *Directory) Begin(values int64) error {
	if err := errors.Join(d.values.ahead(values), d.tables.ahead(memTableAhead)); err != nil {
		return err
	}
	if err := d.last.begin(false, false); err != nil {
		return err
	}
	err := d.spare.begin(d.tables.near(memTableAhead, d.tableBytes), d.tables.rotated())
	if err != nil {
		d.last.end(false)
	}
	return err
}

// NextLogBytes is what Begin is asked for beyond what transactions write to value logs. Badger
// cuts a full log to what it holds, and at once writes the first page of the next, which
// nobody can allocate before: what the cut gives back is the room for it, though another
// process has taken the rest; if that takes this too, the spares are.
const NextLogBytes = 8 << 20

// NextLog tells whether Badger may begin a value log before so many bytes have been written.
// After Begin.
func (d *Directory) NextLog(bytes int64) bool { return d.values.near(bytes, d.valueBytes) }

// GiveUp gives the spare room up, before Badger opens or closes its files.
func (d *Directory) GiveUp() error { return errors.Join(d.spare.giveUp(), d.last.giveUp()) }

// End is called after a transaction.
func (d *Directory) End() {
	d.last.end(false)
	d.spare.end(d.tables.rotated())
}
