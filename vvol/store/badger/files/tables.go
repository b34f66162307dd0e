package files

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	bdb "github.com/dgraph-io/badger/v4"
)

// A table of Badger's tree ends with an index, its length, its checksum, and the length of that,
// lengths in four bytes, big-endian.
const tableLength = 4

// checkTables finds tables whose lengths lead out of the file: Badger, which looks at its
// tables when it opens, follows them and ends the process. All else in a table has a checksum,
// and what is missing Badger tells. Tables that are not on its list are nobody's, as a crash
// may have left them.
func checkTables(dir string) error {
	f, err := os.Open(filepath.Join(dir, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	manifest, _, err := bdb.ReplayManifestFile(f, 0, bdb.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, f.Name(), err)
	}
	for id := range manifest.Tables {
		if err := checkTable(filepath.Join(dir, fmt.Sprintf("%06d.sst", id))); err != nil {
			return err
		}
	}
	return nil
}

func checkTable(name string) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	end := info.Size()
	for _, what := range []string{"checksum", "index"} {
		var b [tableLength]byte
		if end -= tableLength; end < 0 {
			return fmt.Errorf("%w: table %s has %d bytes", ErrDamaged, name, info.Size())
		}
		if _, err := f.ReadAt(b[:], end); err != nil {
			return err
		}
		length := int64(binary.BigEndian.Uint32(b[:]))
		if length > end {
			return fmt.Errorf("%w: table %s is damaged at byte %d: its %s does not have %d bytes", ErrDamaged, name, end, what, length)
		}
		end -= length
	}
	return nil
}
