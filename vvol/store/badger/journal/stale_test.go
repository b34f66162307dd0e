package journal

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func open(t *testing.T, dir string, c Checkpoint, create bool) (*Ring, []Group) {
	j, err := Open(dir, c, create)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	found, err := j.Recover()
	require.NoError(t, err)
	return j, found
}

func appendPage(t *testing.T, j *Ring, value byte) Group {
	g, err := j.Append([]Run{{Kind: Write, Layer: 1, Count: 1}}, [][]byte{bytes.Repeat([]byte{value}, PageSize)})
	require.NoError(t, err)
	return g
}

// TestStaleGroup has a power cut take the second of three groups. What is appended in
// its place is as long, so that the third would be the next group of the journal, by its
// place, its number and its checksum; also when the checkpoint is between the two. It was
// seen to fail without the comparison of epochs in Ring.Recover, and, of the checkpoint, with
// that beginning at 0.
func TestStaleGroup(t *testing.T) {
	dir := t.TempDir()
	c := Checkpoint{ID: 1, Pages: 64, Sequence: 1}
	j, found := open(t, dir, c, true)
	require.Empty(t, found)
	first, second := appendPage(t, j, 1), appendPage(t, j, 2)
	appendPage(t, j, 3)
	f, err := os.OpenFile(fileName(dir, c.ID), os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(make([]byte, PageSize), int64(second.Position)*PageSize)
	require.NoError(t, err)
	require.NoError(t, f.Close())

	c.Epoch = j.Epoch()
	j, found = open(t, dir, c, false)
	require.Len(t, found, 1)
	require.Equal(t, first.End, found[0].End)
	instead := appendPage(t, j, 4)
	require.Equal(t, second.End, instead.End)

	c.Epoch = j.Epoch()
	_, found = open(t, dir, c, false)
	require.Len(t, found, 2)

	c.Position, c.Sequence, c.Before = instead.End, instead.Sequence+1, instead.Epoch
	j, found = open(t, dir, c, false)
	require.Empty(t, found, "a group that was lost came back")
	require.Greater(t, j.Epoch(), instead.Epoch)
}
