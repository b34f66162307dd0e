package files

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
)

// Of Badger's list of tables: a header, then change sets, each with its length and its
// CRC32C before it.
const (
	manifestName   = "MANIFEST"
	manifestHeader = 8
	changesHeader  = 8
	maxManifest    = 64 << 20 // Badger writes it anew when most of it is outdated
)

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
	if at, damaged := damagedChanges(b); damaged {
		return fmt.Errorf("%w: %s is damaged at byte %d: length and checksum of the changes there are not of each other",
			ErrDamaged, name, at)
	}
	return nil
}

// damagedChanges tells where the first damaged change set is, or where the whole ones end.
func damagedChanges(b []byte) (at int, damaged bool) {
	at = manifestHeader
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
