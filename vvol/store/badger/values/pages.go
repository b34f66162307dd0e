package values

import (
	"errors"
	"unsafe"

	bdb "github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"
)

// Prepare asks for large pages in a value log file that Badger has begun since the last
// call, and takes that back for the one before. Badger writes values through a mapping of
// a sparse file, where each 4 KiB are a page fault at the first byte and an interrupt to all
// other cores when they are written out; with large pages that is one for 2 MiB. Reads of a
// file that has left memory fetch less without them. A kernel that has none (Linux has them
// for ext4 since 6.16, for XFS since 5.18) does as before.
//
// The mapping is found through a value that is written for it: Badger gives its readers
// slices of the mapping, and keeps that in place while they look. It maps a new file at
// twice the size from which it begins the next one, so that as much as the size of a
// file follows any value in it. Of the file before, whose mapping was cut to what it holds,
// the end may be missed or some pages behind it be met: what is asked for are hints, which
// change nothing but speed.
func (l *Log) Prepare() error {
	newest, err := l.files.NewestValueLog()
	if err != nil || newest == l.prepared || l.small {
		return err
	}
	if l.prepared > 0 {
		if err := l.advise(l.prepared, unix.MADV_NORMAL, unix.MADV_NOHUGEPAGE); err != nil {
			return err
		}
	}
	if err := l.mark(l.key(int(newest % 2))); err != nil {
		return err
	}
	err = l.advise(newest, unix.MADV_HUGEPAGE, unix.MADV_RANDOM) // random: reading ahead is done in small pages
	l.small = errors.Is(err, unix.EINVAL)
	if l.small {
		err = nil
	}
	l.prepared = newest
	return err
}

// advise gives the kernel advice for as much as a file holds from its mark on. A mark that
// has been moved, as little else was left, tells nothing of the file.
func (l *Log) advise(file uint64, advice ...int) error {
	return l.db.View(func(tx *bdb.Txn) error {
		item, err := tx.Get(l.key(int(file % 2)))
		if err != nil {
			return err
		}
		if at, _ := locate(item); uint64(at.file) != file {
			return nil
		}
		return Value(item, func(value []byte) error {
			if len(value) == 0 {
				return nil // its file is gone since
			}
			first := unsafe.Pointer(unsafe.SliceData(value))
			in := uintptr(first) % uintptr(unix.Getpagesize())
			mapping := unsafe.Slice((*byte)(unsafe.Add(first, -int(in))), l.o.FileBytes)
			for _, a := range advice {
				if err := unix.Madvise(mapping, a); err != nil && !errors.Is(err, unix.ENOMEM) { // the mapped part has taken it
					return err
				}
			}
			return nil
		})
	})
}
