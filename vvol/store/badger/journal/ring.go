package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"vvsim/vvol/store/badger/sum"
)

// Ring is a ring of pages in one file. A group that was appended has reached the
// kernel; Flush puts all of them on stable storage. Pages are counted on forever;
// page n lies at n modulo the size of the ring.
//
// One goroutine at a time appends, another may free, and any may read and flush.
type Ring struct {
	f     *os.File
	id    uint64
	pages uint64
	ring  []byte   // read-only mapping of the file, coherent with writes to it
	sums  []uint32 // of the pages that groups hold; who appends, and Recover

	sequence uint64 // of the next group; who appends
	before   uint64 // epoch of the group before the checkpoint
	epoch    uint64
	header   []byte // who appends
	vector   [][]byte
	piece    [][]byte     // of vector, for one call of the kernel,
	iovecs   []unix.Iovec // which it takes like this

	head      atomic.Uint64 // page behind the last group
	tail      atomic.Uint64 // pages before it may be overwritten
	stable    atomic.Uint64 // pages before it are on stable storage
	claimed   uint64        // pages before it were, by the checkpoint; Recover
	closed    bool          // nothing was appended behind the checkpoint; Recover
	flushes   *Rounds
	unflushed chan struct{}         // capacity 1: WriteOut has something to do
	failed    atomic.Pointer[error] // a write or flush failed: nothing more is acknowledged
	lost      atomic.Bool           // a flush failed: what its pages hold is not known
}

// fileName keeps an old and a new journal apart.
func fileName(dir string, id uint64) string {
	return filepath.Join(dir, fmt.Sprintf("journal-%016x", id))
}

// RemoveOthers removes the files of other journals from dir.
func (j *Ring) RemoveOthers(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "journal-*"))
	for _, name := range names {
		if name != j.f.Name() {
			err = errors.Join(err, os.Remove(name))
		}
	}
	return err
}

// Open opens the ring that a checkpoint names, or creates it.
func Open(dir string, c Checkpoint, create bool) (*Ring, error) {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(fileName(dir, c.ID), flags, 0o600)
	if err != nil {
		return nil, err
	}
	j := &Ring{f: f, id: c.ID, pages: c.Pages, sums: make([]uint32, c.Pages), unflushed: make(chan struct{}, 1)}
	size := int64(c.Pages) * PageSize
	info, err := f.Stat()
	switch {
	case err != nil:
	case create:
		if err = unix.Fallocate(int(f.Fd()), 0, 0, size); err == nil {
			err = errors.Join(f.Sync(), SyncFile(dir))
		}
	case info.Size() != size:
		err = fmt.Errorf("%w: %d bytes, the checkpoint tells of %d", ErrCorrupt, info.Size(), size)
	}
	if err == nil {
		j.ring, err = unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: %w", f.Name(), err), f.Close())
	}
	j.flushes = NewRounds(j.sync)
	for _, p := range []*atomic.Uint64{&j.head, &j.tail, &j.stable} {
		p.Store(c.Position)
	}
	j.sequence, j.before, j.epoch = c.Sequence, c.Before, c.Epoch
	j.claimed, j.closed = c.Stable, c.Closed != 0
	return j, nil
}

// Close unmaps and closes the file. Nothing may use the ring any more.
func (j *Ring) Close() error {
	return errors.Join(unix.Munmap(j.ring), j.f.Close())
}

// Page returns the content of pages that one group holds. It stays what it is until
// the tail passes them.
func (j *Ring) Page(n, count uint64) []byte {
	i := n % j.pages * PageSize
	return j.ring[i : i+count*PageSize : i+count*PageSize]
}

// Sum is the checksum of a page of data that a group holds, as it was appended or found.
func (j *Ring) Sum(n uint64) uint32 { return j.sums[n%j.pages] }

// CopyPage copies one page; false tells that it may have been overwritten meanwhile.
func (j *Ring) CopyPage(p []byte, n uint64) bool {
	copy(p, j.Page(n, 1))
	return j.tail.Load() <= n
}

// ID names the ring's file.
func (j *Ring) ID() uint64 { return j.id }

// Pages is the size of the ring.
func (j *Ring) Pages() uint64 { return j.pages }

// Epoch is higher at every open.
func (j *Ring) Epoch() uint64 { return j.epoch }

// Head is the page behind the last group.
func (j *Ring) Head() uint64 { return j.head.Load() }

// Tail is the page before which all may be overwritten.
func (j *Ring) Tail() uint64 { return j.tail.Load() }

// Stable is the page before which all is on stable storage.
func (j *Ring) Stable() uint64 { return j.stable.Load() }

// Free lets what lies before a page be overwritten.
func (j *Ring) Free(page uint64) { j.tail.Store(page) }

// Used is the number of pages that may not be overwritten.
func (j *Ring) Used() uint64 { return j.head.Load() - j.tail.Load() }

// Needs is the number of pages that a group takes with the padding before it.
func (j *Ring) Needs(pages uint64) uint64 { return pages + j.padding(pages) }

func (j *Ring) padding(pages uint64) uint64 {
	if left := j.pages - j.head.Load()%j.pages; left < pages {
		return left
	}
	return 0
}

// Append writes a group of runs with their data, whole pages in order of the runs,
// and fills in the runs' pages; the runs belong to the group from then on. There has
// to be room for Needs pages.
func (j *Ring) Append(runs []Run, data [][]byte) (Group, error) {
	if err := j.Err(); err != nil {
		return Group{}, err
	}
	pages := uint64(HeaderPages(len(runs)))
	for i := range runs {
		pages += runs[i].dataPages()
	}
	if n := j.padding(pages); n > 0 {
		if _, err := j.write([]Run{{Kind: Padding}}, nil, n); err != nil {
			return Group{}, err
		}
	}
	return j.write(runs, data, pages)
}

func (j *Ring) write(runs []Run, data [][]byte, pages uint64) (Group, error) {
	g := Group{Position: j.head.Load(), Sequence: j.sequence, Epoch: j.epoch, Stable: j.stable.Load(), Runs: runs}
	g.End = g.Position + pages
	n := HeaderPages(len(runs))
	if len(j.header) < n*PageSize {
		j.header = make([]byte, n*PageSize)
	}
	next := g.Position + uint64(n)
	for i := range runs {
		runs[i].Page = next
		next += runs[i].dataPages()
	}
	h := j.header[:n*PageSize]
	g.encodeHeader(h, j.id)
	binary.BigEndian.PutUint32(h[4:], seal(h, len(runs), j.sum(g.Position+uint64(n), data)))
	j.vector = append(append(j.vector[:0], h), data...)
	err := j.writev(j.vector, int64(g.Position%j.pages)*PageSize)
	clear(j.vector)
	clear(j.piece)
	if err != nil {
		return Group{}, j.Fail(err)
	}
	j.sequence++
	j.head.Store(g.End)
	j.askForWriteOut()
	return g, nil
}

// sum fills in the checksums of data that will lie at pages from one on, and returns them.
func (j *Ring) sum(page uint64, data [][]byte) []uint32 {
	sums := j.sums[page%j.pages:]
	n := 0
	for _, p := range data {
		for ; len(p) > 0; p = p[PageSize:] {
			sums[n] = sum.Of(p[:PageSize])
			n++
		}
	}
	return sums[:n]
}

// writeBytes is the most that one call writes, and the alignment of what it writes. The kernel
// caches what one call writes in pieces of up to 2 MiB, and goes through all blocks of a
// piece at each later write to it (Linux 6.16 and later, ext4).
const writeBytes = 64 << 10

// writev writes all of v, however often the kernel stops short.
func (j *Ring) writev(v [][]byte, off int64) error {
	for len(v) > 0 {
		j.piece = leading(j.piece[:0], v, writeBytes-int(off%writeBytes))
		n, errno := j.pwritev(j.piece, off)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return &fs.PathError{Op: "pwritev", Path: j.f.Name(), Err: errno}
		}
		off += int64(n)
		for len(v) > 0 && n >= len(v[0]) {
			n -= len(v[0])
			v = v[1:]
		}
		if n > 0 {
			v[0] = v[0][n:]
		}
	}
	return nil
}

// pwritev is that call of the kernel (pwritev(2)). unix.Pwritev makes a new list of what is to
// be written each time, in several steps.
func (j *Ring) pwritev(v [][]byte, off int64) (n int, errno unix.Errno) {
	j.iovecs = j.iovecs[:0]
	for _, p := range v {
		one := unix.Iovec{Base: unsafe.SliceData(p)}
		one.SetLen(len(p))
		j.iovecs = append(j.iovecs, one)
	}
	list := unsafe.Pointer(unsafe.SliceData(j.iovecs))
	// The offset comes in two halves, of which 64 bits leave nothing to the second.
	written, _, errno := unix.Syscall6(unix.SYS_PWRITEV, j.f.Fd(), uintptr(list), uintptr(len(j.iovecs)), uintptr(off), 0, 0)
	clear(j.iovecs)
	return int(written), errno
}

// leading appends to piece the first n bytes of v, or all.
func leading(piece, v [][]byte, n int) [][]byte {
	for _, p := range v {
		if n -= len(p); n < 0 {
			return append(piece, p[:len(p)+n])
		}
		piece = append(piece, p)
	}
	return piece
}

// Flush returns when all groups appended before the call are on stable storage.
func (j *Ring) Flush() error {
	if err := j.Err(); err != nil {
		return err
	}
	if j.stable.Load() == j.head.Load() {
		return nil
	}
	return j.flushes.Do()
}

// sync is one round of Flush. A failure is final: the kernel forgets which pages
// it could not write, so that a later success would tell nothing.
func (j *Ring) sync() error {
	head := j.head.Load()
	if err := Datasync(j.f); err != nil {
		err = j.Fail(err)
		j.lost.Store(true)
		return err
	}
	j.stable.Store(head)
	return nil
}

// Fail makes a failure final: nothing more is appended or flushed. It returns err.
func (j *Ring) Fail(err error) error {
	j.failed.CompareAndSwap(nil, &err)
	return err
}

// Err is the failure that ended the ring's use, or nil.
func (j *Ring) Err() error {
	if p := j.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// Lost is the failure of a flush, after which a page that is not on stable storage may
// hold what it held before it was written; or nil.
func (j *Ring) Lost() error {
	if !j.lost.Load() {
		return nil
	}
	return j.Err()
}
