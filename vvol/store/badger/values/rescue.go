package values

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"vvsim/vvol/store/badger/files"
)

// Badger rewrites a file up to the first record that is not whole, takes that for the
// end, and deletes the file with all live values behind it. So what it read is counted,
// and when that is not all of the file, the values that the tree still leads to there are
// moved before the file goes: also the damaged one, whose blocks have checksums of their
// own.

// Rewrites learns what Badger rewrote. It has to be told what Badger tells its Logger, as
// nothing else tells it. Used by who collects.
type Rewrites struct {
	file    uint32 // number; 0: not told
	entries int    // records that were read; -1: not told
}

// Infof takes what Badger tells its Logger.
func (r *Rewrites) Infof(format string, args ...any) {
	switch format {
	case "Rewriting fid: %d":
		if n, ok := args[0].(uint32); ok {
			r.file = n
		}
	case "Total entries: %d. Moved: %d":
		if n, ok := args[0].(int); ok {
			r.entries = n
		}
	}
}

var errUntold = errors.New("badger did not tell which value log it rewrote")

// rescue moves what Badger left behind in the file that it has just rewritten and not
// deleted yet. It returns the number of values.
func (l *Log) rescue() (moved uint64, err error) {
	r := l.o.Rewrites
	if r.file == 0 || r.entries < 0 {
		return 0, errUntold
	}
	f, err := os.Open(l.files.ValueLog(uint64(r.file)))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	stop, whole, err := walk(f, r.entries)
	if whole || err != nil {
		return 0, err
	}
	left, err := l.leadingTo(r.file)
	if err != nil {
		return 0, err
	}
	m, err := l.moveAll(f, left)
	if m.values > 0 {
		l.o.Warn(fmt.Sprintf("value log %s is damaged at byte %d: %d values behind that were moved, %d of them damaged",
			f.Name(), stop, m.values, m.damaged))
	}
	return m.values, err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// readValue reads a value as it stands in the file; sound tells whether its record is
// whole. Where it begins is told by what the tree knows, and not by a header that may
// be damaged. What the file has lost of it reads as zeros.
func readValue(f *os.File, s stray) (value []byte, sound bool, err error) {
	b := make([]byte, s.at.length)
	if _, err := f.ReadAt(b, int64(s.at.offset)); err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	rest := len(b) - len(s.key) - files.VersionLength - files.SumLength
	begin := -1
	for n := 1; n <= binary.MaxVarintLen32; n++ { // of the length of the value
		header := 2 + varintLength(len(s.key)+files.VersionLength) + n + 1 // an expiry of zero
		if length := rest - header; length >= 0 && varintLength(length) == n {
			begin = header + len(s.key) + files.VersionLength
		}
	}
	if begin < 0 {
		return nil, false, fmt.Errorf("%s: no value takes %d bytes", f.Name(), len(b))
	}
	end := len(b) - files.SumLength
	return b[begin:end], crc32.Checksum(b[:end], castagnoli) == binary.BigEndian.Uint32(b[end:]), nil
}

func varintLength(n int) int { return len(binary.AppendUvarint(nil, uint64(n))) }

// walk goes over a number of records of a file by their headers alone. whole tells
// whether the file ends behind the last, and stop where that is, or where no header
// stands.
func walk(f *os.File, records int) (stop int64, whole bool, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, false, err
	}
	stop = files.LogHeader
	for range records {
		h, err := files.ReadEntryHeader(f, stop)
		if err != nil {
			return stop, false, err
		}
		if h.Key == 0 || stop+h.Size() > info.Size() {
			return stop, false, nil
		}
		stop += h.Size()
	}
	return stop, stop == info.Size(), nil
}
