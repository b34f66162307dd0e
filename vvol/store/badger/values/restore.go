package values

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"slices"

	bdb "github.com/dgraph-io/badger/v4"

	"vvsim/vvol/store/badger/files"
)

// Restored is what Restore found.
type Restored struct {
	Values uint64   // that were set anew
	Lost   []string // keys of which no file has the value
}

// Restore looks for values that a power cut has taken from the value logs though the tree
// leads to them. Of the two kinds of Badger's logs the kernel may write out the tree's
// before the values', so that one that a collection moved after the last sync can be missing
// where the tree says; the file that it was in stays until a sync, and from there it is set
// anew: of the versions there are the last that is not newer than what is missing. at is the
// place before which all is on stable storage, and wanted tells the keys that have to be there; of
// what else stands behind, the end may be missing. Each value is a step. Called before anybody
// writes.
func (l *Log) Restore(at files.Position, wanted func(key []byte) bool, step Step) (r Restored, err error) {
	lost, err := l.missing(at, wanted)
	if len(lost) == 0 || err != nil {
		return r, err
	}
	found := map[string]stray{}
	newest, err := l.files.NewestValueLog()
	for n := newest; n > 0 && err == nil; n-- {
		err = l.find(n, lost, found)
	}
	if err != nil {
		return r, err
	}
	for _, key := range slices.Sorted(maps.Keys(lost)) {
		s, ok := found[key]
		if !ok {
			r.Lost = append(r.Lost, key)
			continue
		}
		if err := step(int64(s.at.length), func() error { return l.restoreOne(s) }); err != nil {
			return r, err
		}
		r.Values++
	}
	return r, nil
}

// missing lists the wanted keys whose values are not whole where the tree says, with the version
// that it has of them.
func (l *Log) missing(at files.Position, wanted func(key []byte) bool) (map[string]uint64, error) {
	lost := map[string]uint64{}
	logs := map[uint32]*os.File{}
	defer func() {
		for _, f := range logs {
			f.Close()
		}
	}()
	err := l.each(func(s stray) error {
		if s.key[0] == l.o.Fill || (files.Position{File: uint64(s.at.file), Offset: uint64(s.at.offset)}).Before(at) || !wanted(s.key) {
			return nil
		}
		f := logs[s.at.file]
		if f == nil {
			var err error
			if f, err = os.Open(l.files.ValueLog(uint64(s.at.file))); errors.Is(err, fs.ErrNotExist) {
				lost[string(s.key)] = s.version
				return nil
			} else if err != nil {
				return err
			}
			logs[s.at.file] = f
		}
		_, sound, err := readValue(f, s)
		if err == nil && !sound {
			lost[string(s.key)] = s.version
		}
		return err
	})
	return lost, err
}

const maxKey = 1 << 16 // bytes; Badger takes no longer ones

// find looks through a file for whole values of lost keys, and puts what is newer than what was
// found before into found.
func (l *Log) find(number uint64, lost map[string]uint64, found map[string]stray) error {
	f, err := os.Open(l.files.ValueLog(number))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for at := int64(files.LogHeader); ; {
		h, err := files.ReadEntryHeader(f, at)
		if h.Key == 0 || h.Key > maxKey || err != nil {
			return err
		}
		if h.Key > files.VersionLength {
			key := make([]byte, h.Key)
			if _, err := f.ReadAt(key, at+h.Length); err != nil {
				return unlessEnd(err)
			}
			end := len(key) - files.VersionLength
			s := stray{key[:end], pointer{uint32(number), uint32(h.Size()), uint32(at)}, math.MaxUint64 - binary.BigEndian.Uint64(key[end:])}
			if newest, ok := lost[string(s.key)]; ok && s.version <= newest && s.version >= found[string(s.key)].version {
				_, sound, err := readValue(f, s)
				if err != nil {
					return err
				}
				if sound {
					found[string(s.key)] = s
				}
			}
		}
		at += h.Size()
	}
}

// restoreOne sets a value that is whole.
func (l *Log) restoreOne(s stray) error {
	f, err := os.Open(l.files.ValueLog(uint64(s.at.file)))
	if err != nil {
		return err
	}
	defer f.Close()
	value, _, err := readValue(f, s)
	if err != nil {
		return err
	}
	var meta [1]byte // the second byte is the user's
	if _, err := f.ReadAt(meta[:], int64(s.at.offset)+1); err != nil {
		return err
	}
	if err := l.db.Update(func(tx *bdb.Txn) error { return tx.SetEntry(bdb.NewEntry(s.key, value).WithMeta(meta[0])) }); err != nil {
		return fmt.Errorf("value log %s: %w", f.Name(), err)
	}
	return nil
}

func unlessEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
