package journal

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// resident tells of each page of the ring whether it is in memory.
func resident(t *testing.T, j *Ring) []byte {
	pages := make([]byte, j.pages)
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&j.ring[0])), uintptr(len(j.ring)), uintptr(unsafe.Pointer(&pages[0])))
	require.Zero(t, errno)
	return pages
}

// TestUncache opens a journal of 32 MiB whose groups lie around its end: they are found, and what
// was looked through besides is not kept in memory. It was seen to fail without j.uncache in
// Recover.
func TestUncache(t *testing.T) {
	const pages = 8192
	dir, c := t.TempDir(), Checkpoint{ID: 7, Pages: pages, Position: pages - 300, Sequence: 1}
	j, err := Open(dir, c, true)
	require.NoError(t, err)
	var want []Group
	for n := range 5 {
		want = append(want, write(t, j, 1, uint64(n)*100, 100, byte(n)))
	}
	require.Less(t, j.Head()%pages, j.Tail()%pages)
	require.NoError(t, j.Flush())
	require.NoError(t, j.Close())

	j, err = Open(dir, c, false)
	require.NoError(t, err)
	defer func() { require.NoError(t, j.Close()) }()
	for n := range j.pages { // as an earlier program may have left it
		_ = bytes.Equal(j.ring[n*PageSize:n*PageSize+8], nil)
	}
	got, err := j.Recover()
	require.NoError(t, err)
	got = slices.DeleteFunc(got, func(g Group) bool { return g.Runs[0].Kind == Padding })
	require.Equal(t, want, got)
	kept := 0
	for n, in := range resident(t, j) {
		if uint64(n) >= j.Head()%pages && uint64(n) < j.Tail()%pages {
			kept += int(in & 1)
		}
	}
	// A page of the cache that belongs to both may stay.
	require.LessOrEqual(t, kept, 2*(2<<20)/PageSize)
	for n, g := range got {
		require.Equal(t, bytes.Repeat(page(byte(n)), 100), j.Page(g.Runs[0].Page, 100))
	}
}

// TestEachWrittenUncached looks at what was written of a new journal of 64 MiB, which is nothing; of which
// a page was looked at, and others were read ahead: these do not lead it through all of the file. It was
// seen to fail, and half a second of the first start to go by, with each page looked at before the next was
// asked for.
func TestEachWrittenUncached(t *testing.T) {
	j, err := Open(t.TempDir(), Checkpoint{ID: 7, Pages: 16384, Sequence: 1}, true)
	require.NoError(t, err)
	defer func() { require.NoError(t, j.Close()) }()
	sum, pages := j.ring[0], 0
	require.NoError(t, j.eachWritten(func(page uint64) {
		sum += j.ring[page*PageSize]
		pages++
	}))
	require.Zero(t, sum)
	require.Less(t, pages, int(j.pages/2), "what is read ahead at once")
}

// TestLeading cuts pieces of any size off a vector, which together are the vector.
func TestLeading(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 1000 {
		var v [][]byte
		for range random.IntN(6) {
			v = append(v, bytes.Repeat([]byte{byte(random.Int())}, random.IntN(9)))
		}
		all := bytes.Join(v, nil)
		n := random.IntN(30)
		require.True(t, bytes.Equal(all[:min(n, len(all))], bytes.Join(leading(nil, v, n), nil)))
		require.True(t, bytes.Equal(all, bytes.Join(v, nil)), "the vector stays as it is")
	}
}
