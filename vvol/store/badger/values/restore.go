package values

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
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
// anew. at is the place before which all is on stable storage, and wanted tells the
// keys that have to be there; of what else stands behind, the end may be missing. Each
// value is a step. Called before anybody writes.
func (l *Log) Restore(at files.Position, wanted func(key []byte) bool, step Step) (r Restored, err error) {
	lost, err := l.missing(at, wanted)
	if len(lost) == 0 || err != nil {
		return r, err
	}
	newest, err := l.files.NewestValueLog()
	for n := newest; n > 0 && len(lost) > 0 && err == nil; n-- {
		err = l.restoreFrom(n, lost, step, &r)
	}
	r.Lost = slices.Sorted(maps.Keys(lost))
	return r, err
}

// missing lists the wanted keys whose values are not whole where the tree says.
func (l *Log) missing(at files.Position, wanted func(key []byte) bool) (map[string]bool, error) {
	lost := map[string]bool{}
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
				lost[string(s.key)] = true
				return nil
			} else if err != nil {
				return err
			}
			logs[s.at.file] = f
		}
		_, sound, err := readValue(f, s)
		if err == nil && !sound {
			lost[string(s.key)] = true
		}
		return err
	})
	return lost, err
}

const maxKey = 1 << 16 // bytes; Badger takes no longer ones

// restoreFrom sets what a file has of the lost values, and takes it out of lost.
func (l *Log) restoreFrom(number uint64, lost map[string]bool, step Step, r *Restored) error {
	f, err := os.Open(l.files.ValueLog(number))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for at := int64(files.LogHeader); ; {
		h, err := recordHeader(f, at)
		if h.Key == 0 || h.Key > maxKey || err != nil {
			return err
		}
		if h.Key > files.VersionLength {
			key := make([]byte, h.Key-files.VersionLength)
			if _, err := f.ReadAt(key, at+h.Length); err != nil {
				return unlessEnd(err)
			}
			if lost[string(key)] {
				s := stray{key, pointer{uint32(number), uint32(h.Size()), uint32(at)}}
				if err := step(h.Size(), func() error { return l.restoreOne(f, s, lost, r) }); err != nil {
					return err
				}
			}
		}
		at += h.Size()
	}
}

// restoreOne sets a value that is whole.
func (l *Log) restoreOne(f *os.File, s stray, lost map[string]bool, r *Restored) error {
	value, sound, err := readValue(f, s)
	if err != nil || !sound {
		return err
	}
	if err := l.db.Update(func(tx *bdb.Txn) error { return tx.Set(s.key, value) }); err != nil {
		return fmt.Errorf("value log %s: %w", f.Name(), err)
	}
	delete(lost, string(s.key))
	r.Values++
	return nil
}

func unlessEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
