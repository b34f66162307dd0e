package files

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ErrDamaged is a file of Badger that has lost what was on stable storage.
var ErrDamaged = errors.New("damaged file")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Check looks for damage that Badger would take for an unclean end when it opens, and
// cut off without a word. It changes nothing. A log of a memory table is damaged when it
// ends before its mark: the file is then named, and the place. One that is not there
// any more is taken for one that became a table: Badger deletes it then, cutting it to
// nothing first. That the newest did, the list of tables has to tell. Called before Badger opens.
func (d *Directory) Check() error {
	for _, check := range []func(dir string) error{checkManifest, checkRegistry, checkTables} {
		if err := check(d.path); err != nil {
			return err
		}
	}
	if err := d.marks.load(); err != nil {
		return err
	}
	if err := d.checkManifestEnd(); err != nil {
		return err
	}
	var newest tableMark
	left := false // of the newest
	for _, m := range d.marks.found.tables {
		there, err := d.checkTableLog(m)
		if err != nil {
			return err
		}
		if m.Number > newest.Number {
			newest, left = m, there
		}
	}
	if left || newest.End <= LogHeader { // of an empty one no table is made
		return nil
	}
	made, known, err := d.madeTable()
	if err == nil && known && !made {
		err = fmt.Errorf("%w: %s is missing, and no table was made of it", ErrDamaged, d.tables.name(newest.Number))
	}
	return err
}

// checkTableLog looks at a log that has been marked. It is there unless there is none, or another by
// its name: numbers begin anew when none is left.
func (d *Directory) checkTableLog(m tableMark) (there bool, err error) {
	f, err := os.Open(d.tables.name(m.Number))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false, err
	}
	nonce, whole, err := readNonce(f)
	if err != nil || whole && nonce != m.Nonce {
		return false, err
	}
	end, stop, err := walkTableLog(f, LogHeader, info.Size())
	if err == nil && uint64(end) < m.End {
		err = fmt.Errorf("%w: %s is damaged at byte %d: no whole entry stands there, though up to byte %d all was on stable storage",
			ErrDamaged, f.Name(), stop, m.End)
	}
	return true, err
}

// readNonce reads what tells a log from all others, also from those of the same name;
// whole is false when the log is shorter than its header.
func readNonce(f *os.File) (nonce uint64, whole bool, err error) {
	var b [LogHeader]byte
	_, err = f.ReadAt(b[:], 0)
	if errors.Is(err, io.EOF) {
		return 0, false, nil
	}
	return binary.BigEndian.Uint64(b[8:]), true, err
}

// markTableLogs tells how far each log of a memory table reaches, at least with all that
// was committed before, and the number of the newest, which may be just coming and not marked. What was
// looked through once is not looked through again.
func (d *Directory) markTableLogs(names []string) (all []tableMark, newest uint64, err error) {
	for _, name := range names {
		n, err := strconv.ParseUint(strings.TrimSuffix(name, d.tables.ext), 10, 32)
		if err != nil {
			continue // none of Badger's
		}
		newest = max(newest, n)
		m := tableMark{Number: n, End: LogHeader}
		if i := slices.IndexFunc(d.reached, func(r tableMark) bool { return r.Number == n }); i >= 0 {
			m = d.reached[i]
		}
		found, err := followTableLog(filepath.Join(d.path, name), &m)
		if err != nil {
			return nil, 0, err
		}
		if found {
			all = append(all, m)
		}
	}
	d.reached = slices.Clone(all)
	return all, newest, nil
}

// followTableLog moves a mark to the end of a log; found is false when the log is gone, or
// just going or coming.
func followTableLog(name string, m *tableMark) (found bool, err error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	nonce, whole, err := readNonce(f)
	if !whole || err != nil {
		return false, err
	}
	m.Nonce = nonce
	end, _, err := walkTableLog(f, int64(m.End), info.Size())
	m.End = uint64(end)
	return true, err
}

// Of Badger's entries.
const (
	bitTransaction = 1 << 6
	bitCommit      = 1 << 7
	maxEntry       = 2 << 20 // bytes of one in the log of a memory table: longer values lie elsewhere
	readAhead      = 64 << 10
)

// walkTableLog goes over whole entries from the end of a transaction on, as Badger does
// when it opens. end is the end of the last whole transaction, and stop that of the last
// entry that is whole.
func walkTableLog(f io.ReaderAt, from, size int64) (end, stop int64, err error) {
	r := bufio.NewReaderSize(io.NewSectionReader(f, from, max(size-from, 0)), readAhead)
	end, stop = from, from
	var b []byte
	for transaction := uint64(0); ; {
		head, err := r.Peek(MaxEntryHeader)
		if err != nil && !errors.Is(err, io.EOF) {
			return end, stop, err
		}
		h, ok := DecodeEntryHeader(head)
		if !ok || h.Size() > maxEntry {
			return end, stop, nil
		}
		b = slices.Grow(b[:0], int(h.Size()))[:h.Size()]
		if _, err := io.ReadFull(r, b); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = nil
			}
			return end, stop, err
		}
		sum := len(b) - SumLength
		if crc32.Checksum(b[:sum], castagnoli) != binary.BigEndian.Uint32(b[sum:]) {
			return end, stop, nil
		}
		next, ok := follow(transaction, h.Meta, b[h.Length:h.Length+h.Key], b[h.Length+h.Key:sum])
		if !ok {
			return end, stop, nil
		}
		stop += h.Size()
		if transaction = next; transaction == 0 {
			end = stop
		}
	}
}

// follow tells which transaction is open behind an entry, 0 for none; ok is false when the
// entry may not follow.
func follow(transaction uint64, meta byte, key, value []byte) (next uint64, ok bool) {
	switch {
	case meta&bitTransaction != 0:
		if len(key) > VersionLength {
			next = math.MaxUint64 - binary.BigEndian.Uint64(key[len(key)-VersionLength:])
		}
		return next, transaction == 0 || transaction == next
	case meta&bitCommit != 0:
		n, err := strconv.ParseUint(string(value), 10, 64)
		return 0, err == nil && n == transaction
	}
	return 0, transaction == 0
}
