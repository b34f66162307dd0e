package files

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
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
const (
	discardName   = "DISCARD"
	discardSlot   = 16
	leastDiscards = 1 << 20 // bytes that Badger gives the file
)

// Discards lists the value logs of which anything is known to be dead, the newest last. They
// are read while Badger may change them: what it adds meanwhile may be missed.
func (d *Directory) Discards() ([]Discard, error) {
	sizes, _, err := d.ValueLogs()
	if err != nil || len(sizes) == 0 {
		return nil, err
	}
	oldest := slices.Min(slices.Collect(maps.Keys(sizes)))
	f, err := os.Open(filepath.Join(d.path, discardName))
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
		number, _, failed := readDiscard(f, slot)
		err = errors.Join(err, failed)
		return number == 0 || number >= oldest // 0: behind the last
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

// ValueLogs are the sizes of the value logs in bytes, by number, and the number of the newest.
func (d *Directory) ValueLogs() (sizes map[uint64]int64, newest uint64, err error) {
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
		sizes[number] = info.Size()
		newest = max(newest, number)
	}
	return sizes, newest, nil
}

// Count adds to the statistics, bytes by number of a value log, and takes out of them what
// belongs to logs that are gone. Badger must not be open.
func (d *Directory) Count(dead map[uint64]int64) error {
	all, err := d.Discards()
	if err != nil {
		return err
	}
	sum := maps.Clone(dead)
	for _, known := range all {
		sum[known.File] += known.Dead
	}
	b := make([]byte, max(leastDiscards, (len(sum)+1)*discardSlot))
	for i, number := range slices.Sorted(maps.Keys(sum)) {
		binary.BigEndian.PutUint64(b[i*discardSlot:], number)
		binary.BigEndian.PutUint64(b[i*discardSlot+8:], uint64(sum[number]))
	}
	name := filepath.Join(d.path, discardName)
	if err := os.WriteFile(name+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}
