package journal

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func openAgain(t *testing.T, dir string) (Checkpoint, bool, error) {
	c, fresh, err := OpenCheckpoints(dir)
	if err != nil {
		return Checkpoint{}, false, err
	}
	defer func() { require.NoError(t, c.Close()) }()
	return c.Last(), fresh, nil
}

func TestCheckpoints(t *testing.T) {
	dir := t.TempDir()
	c, fresh, err := OpenCheckpoints(dir)
	require.NoError(t, err)
	require.True(t, fresh)
	defer func() { require.NoError(t, c.Close()) }()
	for i := range uint64(5) {
		want := Checkpoint{ID: 1, Pages: 2, Position: 3 + i, Sequence: 4, Epoch: 5, Records: 6, Stable: 7, Closed: 1}
		require.NoError(t, c.Save(want))
		want.serial = i + 1
		got, fresh, err := openAgain(t, dir)
		require.NoError(t, err)
		require.False(t, fresh)
		require.Equal(t, want, got)
	}

	// A damaged slot has a copy: from the one before it would be wrong to start. Two leave
	// nothing.
	tear := func(slot int64) {
		f, err := os.OpenFile(c.Name(), os.O_RDWR, 0)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte{0xff}, slot*checkpointSlot+20)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	tear(1)
	got, _, err := openAgain(t, dir)
	require.NoError(t, err)
	require.Equal(t, uint64(5), got.serial)
	tear(0)
	_, _, err = openAgain(t, dir)
	require.ErrorIs(t, err, ErrNoCheckpoint)
	require.ErrorContains(t, err, c.Name())
}

func FuzzDecodeCheckpoint(f *testing.F) {
	f.Add((&Checkpoint{serial: 1, ID: 2, Pages: 3}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, ok := decodeCheckpoint(b); ok {
			require.Equal(t, b[:checkpointLength], c.encode()[:checkpointLength])
		}
	})
}
