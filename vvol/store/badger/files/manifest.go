package files

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"vvsim/vvol/store/badger/journal"
)

// Of Badger's list of tables: a header, then change sets, each with its length and its
// CRC32C before it.
const (
	manifestName   = "MANIFEST"
	manifestHeader = 8
	changesHeader  = 8
	maxManifest    = 64 << 20 // Badger writes it anew when most of it is outdated
)

// manifestMark says that the list of tables was on stable storage up to End.
type manifestMark struct {
	Begin uint64 // length and checksum of its first changes: those of a list that was written anew differ
	Base  uint64 // in bytes: the newest log becomes a table behind it; 0: not known
	End   uint64 // in bytes
}

// markManifest tells how far the list reaches in whole changes, after it has put them on stable storage: Badger
// syncs what it adds, and may just be at it.
func markManifest(dir string, last manifestMark) (m manifestMark, err error) {
	f, err := os.Open(filepath.Join(dir, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err != nil || len(b) < manifestHeader+changesHeader {
		return m, err
	}
	m.Begin = binary.BigEndian.Uint64(b[manifestHeader:])
	from := manifestHeader
	if m.Begin == last.Begin && last.End >= manifestHeader && last.End <= uint64(len(b)) {
		from = int(last.End)
	}
	end, _ := damagedChanges(b, from)
	if m.End = uint64(end); m.Begin == last.Begin && m.End == last.End {
		return m, nil
	}
	return m, journal.Datasync(f)
}

// newestLog is the log of the memory table that Badger writes to, and where the list of tables ended before
// it was seen first.
type newestLog struct {
	of   tableMark
	list manifestMark
}

// base is where the list of tables ended when the newest log had not become a table yet; 0 is not known. Badger
// hands a log that is full to become a table before it begins the next, so that it has to have been
// far from full when it was seen first. Runner only.
func (d *Directory) base(list manifestMark, logs []tableMark, newest uint64) uint64 {
	i := slices.IndexFunc(logs, func(m tableMark) bool { return m.Number == newest })
	if i < 0 {
		return 0
	}
	if n := &d.newest; n.of.Number != newest || n.of.Nonce != logs[i].Nonce {
		*n = newestLog{of: logs[i], list: list}
	}
	if seen := d.newest; seen.of.End <= uint64(d.tableBytes)/4 && seen.list.Begin == list.Begin {
		return seen.list.End
	}
	return 0
}

// MarkTables notes how far the list of tables reaches once Badger is closed, so that Check sees when its end
// is missing, and which logs are left.
func (d *Directory) MarkTables() error {
	if err := d.marks.load(); err != nil {
		return err
	}
	m := d.marks.saved
	m.tables = nil
	for _, t := range d.marks.saved.tables {
		if there, err := d.checkTableLog(t); err != nil {
			return err
		} else if there {
			m.tables = append(m.tables, t)
		}
	}
	list, err := markManifest(d.path, m.manifest)
	if err != nil {
		return err
	}
	if list.Begin == m.manifest.Begin {
		list.Base = m.manifest.Base
	}
	m.manifest = list
	return d.marks.save(m)
}

// madeTable tells whether a log became a table behind the base of the mark of the list: that is one change by
// itself, in the first level. It is not known when nothing was marked, or the list was written anew.
func (d *Directory) madeTable() (made, known bool, err error) {
	mark := d.marks.found.manifest
	b, err := os.ReadFile(filepath.Join(d.path, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, false, nil
	}
	if err != nil || mark.End == 0 || binary.BigEndian.Uint64(b[manifestHeader:]) != mark.Begin {
		return false, false, err
	}
	for at := manifestHeader; at+changesHeader <= len(b); {
		begin := at + changesHeader
		length := binary.BigEndian.Uint32(b[at:])
		if uint64(length) > uint64(len(b)-begin) {
			break // torn
		}
		at = begin + int(length)
		if uint64(at) > mark.Base && isCreation(b[begin:at]) {
			return true, true, nil
		}
	}
	return false, true, nil
}

// isCreation tells whether changes are the creation of one table in the first level: fields that
// are zero are left out (pb.ManifestChange, v4.9.6).
func isCreation(b []byte) bool {
	const (
		changes   = 1<<3 | 2 // field 1, a message
		operation = 2 << 3
		level     = 3 << 3
	)
	if len(b) < 2 || b[0] != changes || int(b[1]) != len(b)-2 { // one is shorter than 128 bytes
		return false
	}
	for b = b[2:]; len(b) > 0; {
		tag := b[0]
		_, n := binary.Uvarint(b[1:])
		if n <= 0 || tag == operation || tag == level {
			return false
		}
		b = b[1+n:]
	}
	return true
}

// CheckUsed finds that there is no list of tables though the directory has been in use, as another
// file shows: Badger would take every table for a stray and delete it.
func (d *Directory) CheckUsed(by string) error {
	name := filepath.Join(d.path, manifestName)
	_, err := os.Stat(name)
	if _, used := os.Stat(by); errors.Is(err, fs.ErrNotExist) && used == nil {
		return fmt.Errorf("%s is missing in a directory that has been in use", name)
	}
	return nil
}

// checkManifestEnd finds that the end of the list is missing, or all of it. Badger would take the
// tables that it named for strays, and delete them.
func (d *Directory) checkManifestEnd() error {
	name, mark := filepath.Join(d.path, manifestName), d.marks.found.manifest
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	same := len(b) < manifestHeader+changesHeader || binary.BigEndian.Uint64(b[manifestHeader:]) == mark.Begin // none begins so short
	if same && uint64(len(b)) < mark.End {
		return fmt.Errorf("%w: %s has %d bytes, %d of it were on stable storage", ErrDamaged, name, len(b), mark.End)
	}
	return nil
}

// checkManifest finds damage. A change set whose length is damaged so that it reaches
// beyond the end of the file Badger would take for torn, and delete the tables that it and
// those behind it name. A set of which a part is there with the checksum of the whole was
// there as a whole. The rest Badger refuses itself, without the place.
func checkManifest(dir string) error {
	name := filepath.Join(dir, manifestName)
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Size() > maxManifest {
		return fmt.Errorf("%w: %s has %d bytes", ErrDamaged, name, info.Size())
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if at, damaged := damagedChanges(b, manifestHeader); damaged {
		return fmt.Errorf("%w: %s is damaged at byte %d: length and checksum of the changes there are not of each other",
			ErrDamaged, name, at)
	}
	return nil
}

// damagedChanges tells where the first damaged change set is, or where the whole ones end. Those before at
// are whole.
func damagedChanges(b []byte, at int) (end int, damaged bool) {
	for at+changesHeader <= len(b) {
		rest, want := b[at+changesHeader:], binary.BigEndian.Uint32(b[at+4:])
		if length := binary.BigEndian.Uint32(b[at:]); uint64(length) <= uint64(len(rest)) {
			if crc32.Checksum(rest[:length], castagnoli) != want {
				return at, true
			}
			at += changesHeader + int(length)
			continue
		}
		sum := uint32(0)
		for i := 0; sum != want && i < len(rest); i++ {
			sum = crc32.Update(sum, castagnoli, rest[i:i+1])
		}
		return at, sum == want
	}
	return at, false
}
