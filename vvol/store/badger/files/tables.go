package files

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	bdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/options"
)

// A table of Badger's tree is blocks, an index of them, its length, its checksum, and the length of
// that. A block ends with its checksum and the length of that. Lengths have four bytes,
// big-endian; a checksum is pb.Checksum, of CRC32C (table/builder.go, v4.9.6).
const tableLength = 4

// checkTables finds damaged tables. Badger verifies them too when it opens, but follows
// their lengths before, and a wrong one ends the process. What is missing Badger tells. Tables
// that are not on its list are nobody's, as a crash may have left them.
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
	for id, t := range manifest.Tables {
		if err := checkTable(filepath.Join(dir, fmt.Sprintf("%06d.sst", id)), t.Compression == options.None); err != nil {
			return err
		}
	}
	return nil
}

// checkTable looks at a table, and at its blocks if they are plain: the checksum of others is compressed
// with them.
func checkTable(name string, plain bool) error {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	damaged := func(at int, what string) error {
		return fmt.Errorf("%w: table %s is damaged at byte %d: %s", ErrDamaged, name, at, what)
	}
	at, sum, ok := cutSum(b)
	if !ok {
		return damaged(len(b), "the length of a checksum")
	}
	end, ok := cutLength(b[:at])
	if !ok || end == at-tableLength || !sum.of(b[end:at-tableLength]) {
		return damaged(at, "its index")
	}
	index := fb.GetRootAsTableIndex(b[end:at-tableLength], 0)
	for i := range index.OffsetsLength() {
		var o fb.BlockOffset
		if !index.Offsets(&o, i) || uint64(o.Offset())+uint64(o.Len()) > uint64(end) {
			return damaged(end, "its index")
		}
		block := b[o.Offset() : o.Offset()+o.Len()]
		if at, sum, ok := cutSum(block); plain && (!ok || !sum.of(block[:at])) {
			return damaged(int(o.Offset()), fmt.Sprintf("block %d", i))
		}
	}
	return nil
}

// cutLength reads the length at the end of b, and tells where begins what is as long before it.
func cutLength(b []byte) (begin int, ok bool) {
	end := len(b) - tableLength
	if end < 0 {
		return 0, false
	}
	length := binary.BigEndian.Uint32(b[end:])
	return end - int(length), uint64(length) <= uint64(end)
}

// tableSum is an encoded pb.Checksum.
type tableSum []byte

// cutSum reads the checksum at the end of b, and tells where it begins.
func cutSum(b []byte) (begin int, sum tableSum, ok bool) {
	if begin, ok = cutLength(b); !ok {
		return 0, nil, false
	}
	return begin, b[begin : len(b)-tableLength], true
}

// of tells whether it is that of b. An algorithm and a sum of zero are left out.
func (s tableSum) of(b []byte) bool {
	const sumField = 2 << 3
	want := crc32.Checksum(b, castagnoli)
	if want == 0 {
		return len(s) == 0
	}
	return bytes.Equal(s, binary.AppendUvarint([]byte{sumField}, uint64(want)))
}
