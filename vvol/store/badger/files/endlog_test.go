package files

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// entryOf is an entry with a value of 100 bytes, as Badger writes it.
func entryOf(key string) []byte {
	b := append([]byte{0, 0, byte(len(key) + VersionLength), 100, 0}, key...)
	b = append(b, make([]byte, VersionLength+100)...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// TestEndLog ends logs, once and again, and leaves each byte but those of one checksum as it is. It was
// seen to fail in Directory.EndLog without the refusal of the newest, with the checksum written as it has to
// be, and without the comparison with what is left of the file.
func TestEndLog(t *testing.T) {
	d := New(t.TempDir(), 16<<20, 4<<20)
	whole := append(append(make([]byte, LogHeader), entryOf("r1")...), entryOf("r2")...)
	damaged := bytes.Clone(whole)
	damaged[LogHeader+50] ^= 1
	contents := [][]byte{whole, damaged, whole[:LogHeader+60], make([]byte, 200), make([]byte, LogHeader), whole}
	for i, b := range contents {
		require.NoError(t, os.WriteFile(d.ValueLog(uint64(i+1)), b, 0o600))
	}
	for range 2 {
		for i := range contents[:5] {
			require.NoError(t, d.EndLog(uint64(i+1)), "log %d", i+1)
		}
		require.ErrorIs(t, d.EndLog(6), ErrNewest)
		for i, want := range contents {
			b, err := os.ReadFile(d.ValueLog(uint64(i + 1)))
			require.NoError(t, err)
			if i < 2 {
				end := LogHeader + len(entryOf("r1"))
				require.NotEqual(t, binary.BigEndian.Uint32(b[end-SumLength:]), crc32.Checksum(b[LogHeader:end-SumLength], castagnoli), "log %d", i+1)
				copy(b[end-SumLength:end], want[end-SumLength:])
			}
			require.Equal(t, want, b, "log %d", i+1)
		}
	}
}

// TestEndDamagedLog ends logs whose first lengths Badger could not read, or would take memory for, and
// changes nothing else. It was seen to fail with any of the three conditions left out under which
// Directory.EndLog makes lengths zero.
func TestEndDamagedLog(t *testing.T) {
	d := New(t.TempDir(), 16<<20, 4<<20)
	log := func(lengths ...byte) []byte {
		b := append(make([]byte, LogHeader), entryOf("r1")...)
		copy(b[LogHeader+2:], lengths)
		return b
	}
	contents := [][]byte{log(bytes.Repeat([]byte{0xff}, 20)...), log(10, 0xff, 0xff, 0xff, 0x7f), log(10, 0xff, 0xff, 3, 0), make([]byte, LogHeader+4), log()}
	for i, b := range contents {
		require.NoError(t, os.WriteFile(d.ValueLog(uint64(i+1)), b, 0o600))
	}
	for range 2 {
		for i, want := range contents[:4] {
			require.NoError(t, d.EndLog(uint64(i+1)))
			b, err := os.ReadFile(d.ValueLog(uint64(i + 1)))
			require.NoError(t, err)
			if i < 2 {
				require.Zero(t, [leastHeader]byte(b[LogHeader:]), "log %d", i+1)
				copy(b[LogHeader:], want[LogHeader:LogHeader+leastHeader])
			}
			require.Equal(t, want, b, "log %d", i+1)
		}
	}
}

// TestDiscards reads statistics of logs that are there, also behind many of logs that are not.
func TestDiscards(t *testing.T) {
	dir := t.TempDir()
	d := New(dir, 16<<20, 4<<20)
	all, err := d.Discards()
	require.NoError(t, err)
	require.Empty(t, all)
	for _, n := range []uint64{2001, 2003, 2004} {
		require.NoError(t, os.WriteFile(d.ValueLog(n), make([]byte, n), 0o600))
	}
	all, err = d.Discards()
	require.NoError(t, err)
	require.Empty(t, all, "without statistics")
	b := make([]byte, 1<<20)
	for n := range uint64(2003) { // as Badger keeps them: by number, and none of 2004 yet
		binary.BigEndian.PutUint64(b[discardSlot*n:], n+1)
		binary.BigEndian.PutUint64(b[discardSlot*n+8:], n)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "DISCARD"), b, 0o600))
	all, err = d.Discards()
	require.NoError(t, err)
	require.Equal(t, []Discard{{File: 2001, Dead: 2000, Size: 2001}, {File: 2003, Dead: 2002, Size: 2003}}, all)
	require.NoError(t, d.Count(map[uint64]int64{2001: 10, 2004: 7}))
	all, err = d.Discards()
	require.NoError(t, err)
	require.Equal(t, []Discard{{File: 2001, Dead: 2010, Size: 2001}, {File: 2003, Dead: 2002, Size: 2003}, {File: 2004, Dead: 7, Size: 2004}}, all)
	info, err := os.Stat(filepath.Join(dir, "DISCARD"))
	require.NoError(t, err)
	require.EqualValues(t, leastDiscards, info.Size())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "DISCARD"), b[:discardSlot*2001+3], 0o600))
	all, err = d.Discards()
	require.NoError(t, err)
	require.Len(t, all, 1, "cut off")
}

// TestPosition: all before the last entry has been written, however much of the log the file system
// counts as data.
func TestPosition(t *testing.T) {
	d := New(t.TempDir(), 16<<20, 4<<20)
	one := append(make([]byte, LogHeader), entryOf("r1")...)
	two := append(bytes.Clone(one), entryOf("r2")...)
	for _, c := range []struct {
		log     uint64
		content []byte
		want    int
	}{{1, nil, LogHeader}, {1, one, LogHeader}, {1, two, len(one)}, {1, append(bytes.Clone(two), entryOf("r3")...), len(two)}, {2, one, LogHeader}} {
		require.NoError(t, os.WriteFile(d.ValueLog(c.log), append(bytes.Clone(c.content), make([]byte, 8<<20)...), 0o600))
		p, err := d.values.position()
		require.NoError(t, err)
		require.Equal(t, Position{File: c.log, Offset: uint64(c.want)}, p)
	}
}
