package badger

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	bdb "github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger/journal"
)

// still opens an engine whose drainer does nothing by itself.
func still(t *testing.T, dir string) *Engine {
	o := small(dir)
	o.CollectEvery = time.Hour
	e, err := Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

// killed returns a copy of a directory as the end of the process would leave it.
func killed(t *testing.T, e *Engine) string {
	manifest := func() []byte {
		b, err := os.ReadFile(filepath.Join(e.dir, bdb.ManifestFilename))
		require.NoError(t, err)
		return b
	}
	e.writing.Lock() // what is drained meanwhile would be in the journal's copy and not in Badger's
	defer e.writing.Unlock()
	for range 100 { // Badger writes tables out beside us; a copy is of one instant when it wrote none
		before, dir := manifest(), t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(e.o.Dir)); err == nil && bytes.Equal(before, manifest()) {
			return dir
		}
	}
	t.Fatal("the directory does not come to rest")
	return ""
}

func write(t *testing.T, e *Engine, id store.ID, block uint64, value byte) {
	o, err := e.Open(t.Context(), id)
	require.NoError(t, err)
	require.NoError(t, o.WriteAt(t.Context(), bytes.Repeat([]byte{value}, blockSize), block*blockSize, store.WriteOptions{}))
}

func requireBlock(t *testing.T, e *Engine, id store.ID, block uint64, value byte) {
	o, err := e.Open(t.Context(), id)
	require.NoError(t, err)
	p := make([]byte, blockSize)
	require.NoError(t, o.ReadAt(t.Context(), p, block*blockSize))
	require.Equal(t, value, p[0])
	require.True(t, bytes.Equal(bytes.Repeat([]byte{value}, blockSize), p))
}

// TestDroppedParent opens a directory whose journal brings back a layer that was
// dropped since, as its parent was, which the journal does not bring back. It was seen to
// fail with the look for a missing parent left out of index.LinkLayers.
func TestDroppedParent(t *testing.T) {
	e := still(t, t.TempDir())
	a, s := store.ID{1}, store.ID{2}
	require.NoError(t, e.Create(t.Context(), a, store.CreateOptions{Size: 1 << 20}))
	require.NoError(t, e.drainer.drainTo(e.journal.Head()))
	require.NoError(t, e.Snapshot(t.Context(), []store.SnapshotSpec{{Source: a, Snapshot: s}}))
	require.NoError(t, e.Delete(t.Context(), a))
	require.NoError(t, e.Delete(t.Context(), s))
	drop(t, e)
	require.Empty(t, e.index.Layers)
	dir := killed(t, e)
	for range 2 { // the second time without the journal
		again := still(t, dir)
		require.Empty(t, again.index.Volumes)
		require.NoError(t, again.drainer.drainTo(again.journal.Head()))
		drop(t, again)
		require.Empty(t, again.index.Layers)
		require.NoError(t, again.Close())
	}
}

// TestDroppedBesideMerged is the same with a parent that was merged into its other child. It
// was seen to fail in the same way.
func TestDroppedBesideMerged(t *testing.T) {
	e := still(t, t.TempDir())
	a, s := store.ID{1}, store.ID{2}
	require.NoError(t, e.Create(t.Context(), a, store.CreateOptions{Size: 1 << 20}))
	write(t, e, a, 0, 7)
	require.NoError(t, e.Snapshot(t.Context(), []store.SnapshotSpec{{Source: a, Snapshot: s}}))
	require.NoError(t, e.drainer.drainTo(e.journal.Head()))
	require.NoError(t, e.Delete(t.Context(), s))
	drop(t, e)
	require.NoError(t, e.Snapshot(t.Context(), []store.SnapshotSpec{{Source: a, Snapshot: s}}))
	require.NoError(t, e.Delete(t.Context(), s))
	drop(t, e)
	require.NoError(t, e.drainer.mergeLayers(1000))
	require.Len(t, e.index.Layers, 1)
	requireBlock(t, still(t, killed(t, e)), a, 0, 7)
}

// TestReadOfMergedHead reads with a head that was frozen and merged away since it was
// looked up; it holds nothing any more. It was seen to fail with the look at Merging left
// out of Engine.readHead.
func TestReadOfMergedHead(t *testing.T) {
	e := still(t, t.TempDir())
	a, s := store.ID{1}, store.ID{2}
	require.NoError(t, e.Create(t.Context(), a, store.CreateOptions{Size: 1 << 20}))
	write(t, e, a, 0, 7)
	head := e.index.Volumes[a].Head
	p := make([]byte, blockSize)
	require.NoError(t, e.readHead(head, 0, p))
	require.NoError(t, e.Snapshot(t.Context(), []store.SnapshotSpec{{Source: a, Snapshot: s}}))
	require.NoError(t, e.Delete(t.Context(), s))
	require.NoError(t, e.readHead(head, 0, p))
	require.NoError(t, e.drainer.drainTo(e.journal.Head()))
	drop(t, e)
	require.NoError(t, e.drainer.mergeLayers(1000))
	require.ErrorIs(t, e.readHead(head, 0, p), errMerged)
	requireBlock(t, e, a, 0, 7)
}

// TestZeroedWhileMerging zeroes a child whose parent is about to be merged into it: a
// power cut may take the zeros, so that the parent's block is still needed. It was seen to
// fail with both looks at what is settled left out of drainer.retag; either alone holds it.
func TestZeroedWhileMerging(t *testing.T) {
	e := still(t, t.TempDir())
	a, s := store.ID{1}, store.ID{2}
	require.NoError(t, e.Create(t.Context(), a, store.CreateOptions{Size: 1 << 20}))
	write(t, e, a, 0, 7)
	require.NoError(t, e.Snapshot(t.Context(), []store.SnapshotSpec{{Source: a, Snapshot: s}}))
	require.NoError(t, e.Delete(t.Context(), s))
	require.NoError(t, e.drainer.drainTo(e.journal.Head()))
	drop(t, e)
	l, err := e.drainer.mergeable()
	require.NoError(t, err)
	o, err := e.Open(t.Context(), a)
	require.NoError(t, err)
	require.NoError(t, o.Unmap(t.Context(), 0, blockSize, store.WriteOptions{}))
	_, err = e.drainer.retag(l, 10)
	require.ErrorIs(t, err, errUnsettled)
	require.True(t, l.Get(0).Data())
	require.NoError(t, e.drainer.mergeLayers(1000))
	require.Len(t, e.index.Layers, 1)
	requireBlock(t, e, a, 0, 0)
}

// TestCloseAfterFailedAppend closes an engine whose journal got the padding before a
// group but not the group. It was seen to hang without the look at the backlog in
// drainer.drainTo.
func TestCloseAfterFailedAppend(t *testing.T) {
	e, err := Open(t.Context(), small(t.TempDir()))
	require.NoError(t, err)
	_, err = e.journal.Append([]journal.Run{{Kind: journal.Padding}}, nil)
	require.NoError(t, err)
	require.NoError(t, e.Close())
}

// TestFlushedAtOpen finds what an ended process appended on stable storage, before
// rows of it are set in Badger. It was seen to fail with journal.Flush left out of
// Engine.recover.
func TestFlushedAtOpen(t *testing.T) {
	e := still(t, t.TempDir())
	a := store.ID{1}
	require.NoError(t, e.Create(t.Context(), a, store.CreateOptions{Size: 1 << 20}))
	write(t, e, a, 0, 7)
	again := still(t, killed(t, e))
	require.Equal(t, again.journal.Head(), again.journal.Stable())
	requireBlock(t, again, a, 0, 7)
}

// TestMergedZerosPowerCut takes from the journal the write that hid a flushed one, after
// zeros of the layer below became the child's. It was seen to fail with the zeros as new
// as their entry (t.ID in place of l.ID in drainer.finishMerge).
func TestMergedZerosPowerCut(t *testing.T) {
	e := still(t, t.TempDir())
	a, s := store.ID{1}, store.ID{2}
	require.NoError(t, e.Create(t.Context(), a, store.CreateOptions{Size: 1 << 20}))
	snapshot := func(s store.ID) {
		require.NoError(t, e.Snapshot(t.Context(), []store.SnapshotSpec{{Source: a, Snapshot: s}}))
	}
	write(t, e, a, 0, 1)
	snapshot(store.ID{3}) // stays, so that the zeros above it are needed
	o, err := e.Open(t.Context(), a)
	require.NoError(t, err)
	require.NoError(t, o.Unmap(t.Context(), 0, blockSize, store.WriteOptions{}))
	snapshot(s)
	write(t, e, a, 0, 2)
	require.NoError(t, o.Flush(t.Context()))
	require.NoError(t, e.drainer.drainTo(e.journal.Head()))
	require.NoError(t, e.Delete(t.Context(), s))
	require.NoError(t, e.drainer.drainTo(e.journal.Head()))
	flushed := e.journal.Head()
	write(t, e, a, 0, 3)
	drop(t, e)
	layers := len(e.index.Layers)
	require.NoError(t, e.drainer.mergeLayers(1000))
	require.Len(t, e.index.Layers, layers-1)
	dir := killed(t, e)
	name := "/journal-" + journalSuffix(t, dir)
	f, err := os.OpenFile(dir+name, os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(make([]byte, blockSize), int64(flushed%e.journal.Pages())*blockSize)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	requireBlock(t, still(t, dir), a, 0, 2)
}

// journalSuffix is the id in the name of the only journal of a directory.
func journalSuffix(t *testing.T, dir string) string {
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, n := range names {
		if suffix, ok := bytes.CutPrefix([]byte(n.Name()), []byte("journal-")); ok {
			return string(suffix)
		}
	}
	t.Fatal("no journal")
	return ""
}
