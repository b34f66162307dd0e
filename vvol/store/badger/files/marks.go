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

// Position is a place in the value logs, which are written one after the other.
type Position struct {
	File   uint64 // number; 0 is before all
	Offset uint64 // bytes
}

// Before tells whether the place lies before another.
func (p Position) Before(o Position) bool {
	return p.File < o.File || p.File == o.File && p.Offset < o.Offset
}

// marks is the file that keeps the marks of the last sync: two slots that are written in
// turn, so that one is whole at any time. What a mark says stays true while its log is
// there, so that an older slot does as well, and says less.
type marks struct {
	name  string
	known bool // the file has been looked at
	last  uint64
	found synced // when the file was looked at
	saved synced
}

// synced is what was on stable storage at a sync.
type synced struct {
	values   Position // all that was written before it
	manifest manifestMark
	tables   []tableMark
}

func (s *synced) equal(o *synced) bool {
	return s.values == o.values && s.manifest == o.manifest && slices.Equal(s.tables, o.tables)
}

const (
	marksMagic  = "vvsimtl3"           // the first mark is that of the MANIFEST, its base the number
	marksBefore = "vvsimtl2"           // there is none of the MANIFEST
	marksHeader = len(marksMagic) + 28 // and serial, place of values, count
	markLength  = 24
	marksSlot   = 4096
	maxMarks    = 128 // Badger keeps five, and those that iterators hold
)

func encodeMarks(serial uint64, m synced) []byte {
	b := append(make([]byte, 0, marksSlot), marksMagic...)
	for _, v := range [...]uint64{serial, m.values.File, m.values.Offset} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	all := append([]tableMark{{m.manifest.Base, m.manifest.Begin, m.manifest.End}}, m.tables...)
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
func decodeMarks(b []byte) (serial uint64, m synced, ok bool) {
	if len(b) < marksSlot || string(b[:len(marksMagic)]) != marksMagic && string(b[:len(marksMagic)]) != marksBefore {
		return 0, m, false
	}
	n := int(binary.BigEndian.Uint32(b[marksHeader-4:]))
	if n > 1+maxMarks {
		return 0, m, false
	}
	end := marksHeader + n*markLength
	if crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return 0, m, false
	}
	number := func(at int) uint64 { return binary.BigEndian.Uint64(b[at:]) }
	for at := marksHeader; at < end; at += markLength {
		m.tables = append(m.tables, tableMark{number(at), number(at + 8), number(at + 16)})
	}
	if n > 0 && string(b[:len(marksMagic)]) == marksMagic {
		m.manifest, m.tables = manifestMark{Begin: m.tables[0].Nonce, Base: m.tables[0].Number, End: m.tables[0].End}, m.tables[1:]
	}
	at := len(marksMagic)
	m.values = Position{number(at + 8), number(at + 16)}
	return number(at), m, true
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
		if serial, m, ok := decodeMarks(b[slot*marksSlot : (slot+1)*marksSlot]); ok && serial > k.last {
			k.last, k.found, k.saved = serial, m, m
		}
	}
	k.known = true
	return nil
}

// save puts marks on stable storage; what they say has to be there already.
func (k *marks) save(m synced) error {
	if n := len(m.tables); n > maxMarks {
		return fmt.Errorf("%s: %d logs of memory tables are more than %d", k.name, n, maxMarks)
	}
	if err := k.load(); err != nil {
		return err
	}
	if m.equal(&k.saved) {
		return nil
	}
	f, err := os.OpenFile(k.name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	serial := k.last + 1
	_, err = f.WriteAt(encodeMarks(serial, m), int64(serial%2)*marksSlot)
	if err = errors.Join(err, journal.Datasync(f), f.Close()); err == nil {
		k.last, k.saved = serial, m
	}
	return err
}
