package files

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
)

// leastHeader is the length of the shortest header of an entry.
const leastHeader = 5

// ErrNewest refuses to end the value log that is written to.
var ErrNewest = errors.New("the newest value log cannot be ended")

// EndLog makes the checksum of the first entry of a value log wrong, so that Badger, which reads a
// log up to there before it deletes it, reads no more. The log must not be the newest, and no value of it
// may be wanted any more; that what replaced them is on stable storage is the caller's business.
// Whoever still reads its values finds them as they were. A log that ends within its first entry
// stays as it is, as Badger reads no further either. Lengths that nobody can read any more are
// made zero: at some, Badger would fail for ever, and for others take gigabytes of memory.
func (d *Directory) EndLog(number uint64) error {
	newest, err := d.NewestValueLog()
	if err != nil {
		return err
	}
	if number >= newest {
		return ErrNewest
	}
	f, err := os.OpenFile(d.ValueLog(number), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	h, err := ReadEntryHeader(f, LogHeader)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	switch left := info.Size() - LogHeader; {
	case left >= leastHeader && (h.Key == 0 || h.Size() > 2*d.valueBytes): // a transaction may go beyond a log's size
		_, err := f.WriteAt(make([]byte, leastHeader), LogHeader)
		return err
	case h.Size() > left || h.Key == 0:
		return nil
	}
	entry := make([]byte, h.Size())
	if _, err := f.ReadAt(entry, LogHeader); err != nil {
		return err
	}
	end := len(entry) - SumLength
	wrong := binary.BigEndian.AppendUint32(nil, ^crc32.Checksum(entry[:end], castagnoli))
	_, err = f.WriteAt(wrong, LogHeader+int64(end))
	return err
}
