package files

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// Discard is what Badger's statistics tell of a value log.
type Discard struct {
	File       uint64 // number
	Dead, Size int64  // bytes that merged tables have shown to be dead, and of the file
}

// discardSlot is the length of one entry of Badger's file of statistics: number of the value log
// and dead bytes, big-endian, by number, as far as the number is not 0. What belonged to files that
// are gone is never taken out.
const discardSlot = 16

// Discards lists the value logs of which anything is known to be dead, the newest last. They
// are read while Badger may change them: what it adds meanwhile may be missed.
func (d *Directory) Discards() ([]Discard, error) {
	sizes, oldest, err := d.valueLogs()
	if err != nil || len(sizes) == 0 {
		return nil, err
	}
	f, err := os.Open(filepath.Join(d.path, "DISCARD"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	first := sort.Search(int(info.Size()/discardSlot), func(slot int) bool {
		var number uint64
		if number, _, err = readDiscard(f, slot); number == 0 {
			return true // behind the last
		}
		return number >= oldest
	})
	var all []Discard
	for slot := first; err == nil; slot++ {
		var number uint64
		var dead int64
		if number, dead, err = readDiscard(f, slot); number == 0 {
			return all, err
		}
		if size, ok := sizes[number]; ok && dead > 0 {
			all = append(all, Discard{File: number, Dead: dead, Size: size})
		}
	}
	return nil, err
}

// readDiscard reads one entry; its number is 0 behind the last.
func readDiscard(f *os.File, slot int) (number uint64, dead int64, err error) {
	var b [discardSlot]byte
	if _, err := f.ReadAt(b[:], int64(slot)*discardSlot); err != nil && !errors.Is(err, io.EOF) {
		return 0, 0, err
	}
	return binary.BigEndian.Uint64(b[:]), int64(binary.BigEndian.Uint64(b[8:])), nil
}

// valueLogs are the sizes of the value logs by number, and the lowest number.
func (d *Directory) valueLogs() (sizes map[uint64]int64, oldest uint64, err error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, 0, err
	}
	sizes = map[uint64]int64{}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".vlog")
		if !ok {
			continue
		}
		number, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		if sizes[number] = info.Size(); oldest == 0 || number < oldest {
			oldest = number
		}
	}
	return sizes, oldest, nil
}
