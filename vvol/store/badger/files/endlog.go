package files

import (
	"errors"
	"io"
	"os"
	"slices"
)

// ErrNewest refuses to end the value log that is written to.
var ErrNewest = errors.New("the newest value log cannot be ended")

// EndLog takes the first entry of a value log for one that was never written, so that Badger, which
// reads a log up to there before it deletes it, has nothing to read. The log must not be the
// newest, and no value of it may be wanted any more; that what replaced them is on stable
// storage is the caller's business. Whoever has found the first entry and not read it yet gets
// an empty value: only a log whose first key begins with one of kinds, of which readers expect
// that, is ended. It tells whether the log is.
func (d *Directory) EndLog(number uint64, kinds ...byte) (bool, error) {
	newest, err := d.NewestValueLog()
	if err != nil {
		return false, err
	}
	if number >= newest {
		return false, ErrNewest
	}
	f, err := os.OpenFile(d.ValueLog(number), os.O_RDWR, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var b [MaxEntryHeader + 1]byte
	n, err := f.ReadAt(b[:], LogHeader)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	h, ok := DecodeEntryHeader(b[:n])
	if !ok || h.Key <= VersionLength { // damaged, or ended before: Badger reads no further either
		return true, nil
	}
	if h.Length >= int64(n) || !slices.Contains(kinds, b[h.Length]) {
		return false, nil
	}
	_, err = f.WriteAt(make([]byte, h.Length), LogHeader)
	return err == nil, err
}
