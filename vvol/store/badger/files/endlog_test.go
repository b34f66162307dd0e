package files

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// logWith is the beginning of a value log with an entry of a key.
func logWith(key string) []byte {
	b := append(make([]byte, LogHeader), 0, 0, byte(len(key)+VersionLength), 100, 0)
	b = append(append(b, key...), make([]byte, VersionLength)...)
	return append(b, make([]byte, 100+SumLength)...)
}

// TestEndLog ends what it may, and leaves each byte of the others as it is.
func TestEndLog(t *testing.T) {
	d := New(t.TempDir(), 16<<20, 4<<20)
	contents := [][]byte{logWith("r1"), logWith("x1"), logWith("f1"), make([]byte, 200), make([]byte, LogHeader), logWith("r2")}
	for i, b := range contents {
		require.NoError(t, os.WriteFile(d.ValueLog(uint64(i+1)), b, 0o600))
	}
	for i, want := range []bool{true, false, true, true, true} {
		ended, err := d.EndLog(uint64(i+1), 'f', 'r')
		require.NoError(t, err)
		require.Equal(t, want, ended, "log %d", i+1)
	}
	_, err := d.EndLog(6, 'f', 'r')
	require.ErrorIs(t, err, ErrNewest)
	for _, i := range []int{0, 2} {
		clear(contents[i][LogHeader : LogHeader+5])
	}
	for i, want := range contents {
		b, err := os.ReadFile(d.ValueLog(uint64(i + 1)))
		require.NoError(t, err)
		require.Equal(t, want, b, "log %d", i+1)
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
	require.NoError(t, os.WriteFile(filepath.Join(dir, "DISCARD"), b[:discardSlot*2001+3], 0o600))
	all, err = d.Discards()
	require.NoError(t, err)
	require.Len(t, all, 1, "cut off")
}
