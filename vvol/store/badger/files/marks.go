package files

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"

	"vvsim/vvol/store/badger/journal"
)

// tableMark says that the log of a memory table was on stable storage up to End.
type tableMark struct {
	Number uint64
	Nonce  uint64 // of the log's header
	End    uint64 // in bytes
}

// marks is the file that keeps the marks of the last sync: two slots that are written in
// turn, so that one is whole at any time. What a mark says stays true while its log is
// there, so that an older slot does as well, and says less.
type marks struct {
	name  string
	known bool // the file has been looked at
	last  uint64
	found []tableMark // when the file was looked at
	saved []tableMark
}

const (
	marksMagic  = "vvsimtl1"
	marksHeader = len(marksMagic) + 12 // and serial, count
	markLength  = 24
	marksSlot   = 4096
	maxMarks    = 128 // Badger keeps five, and those that iterators hold
)

func encodeMarks(serial uint64, all []tableMark) []byte {
	b := append(make([]byte, 0, marksSlot), marksMagic...)
	b = binary.BigEndian.AppendUint64(b, serial)
	b = binary.BigEndian.AppendUint32(b, uint32(len(all)))
	for _, m := range all {
		for _, v := range [...]uint64{m.Number, m.Nonce, m.End} {
			b = binary.BigEndian.AppendUint64(b, v)
		}
	}
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return b[:marksSlot]
}

// decodeMarks reads one slot; ok is false when it was never written, is torn or damaged.
func decodeMarks(b []byte) (serial uint64, all []tableMark, ok bool) {
	if len(b) < marksSlot || string(b[:len(marksMagic)]) != marksMagic {
		return 0, nil, false
	}
	n := int(binary.BigEndian.Uint32(b[marksHeader-4:]))
	if n > maxMarks {
		return 0, nil, false
	}
	end := marksHeader + n*markLength
	if crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return 0, nil, false
	}
	for at := marksHeader; at < end; at += markLength {
		all = append(all, tableMark{binary.BigEndian.Uint64(b[at:]), binary.BigEndian.Uint64(b[at+8:]), binary.BigEndian.Uint64(b[at+16:])})
	}
	return binary.BigEndian.Uint64(b[len(marksMagic):]), all, true
}

// load looks at the file once. Without it, or with both slots damaged, nothing is marked.
func (k *marks) load() error {
	if k.known {
		return nil
	}
	f, err := os.Open(k.name)
	if errors.Is(err, fs.ErrNotExist) {
		k.known = true
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 2*marksSlot)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for slot := range 2 {
		if serial, all, ok := decodeMarks(b[slot*marksSlot : (slot+1)*marksSlot]); ok && serial > k.last {
			k.last, k.found = serial, all
		}
	}
	k.known = true
	return nil
}

// save puts marks on stable storage; what they say has to be there already.
func (k *marks) save(all []tableMark) error {
	if len(all) > maxMarks {
		return fmt.Errorf("%s: %d logs of memory tables are more than %d", k.name, len(all), maxMarks)
	}
	if err := k.load(); err != nil {
		return err
	}
	if k.saved != nil && slices.Equal(all, k.saved) {
		return nil
	}
	f, err := os.OpenFile(k.name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	serial := k.last + 1
	_, err = f.WriteAt(encodeMarks(serial, all), int64(serial%2)*marksSlot)
	if err = errors.Join(err, journal.Datasync(f), f.Close()); err == nil {
		k.last, k.saved = serial, append([]tableMark{}, all...)
	}
	return err
}
