package journal

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"vvsim/vvol/store/badger/sum"

	"github.com/stretchr/testify/require"
)

const testPages = 64

func create(t *testing.T) (*Ring, Checkpoint, string) {
	dir := t.TempDir()
	c := Checkpoint{ID: 7, Pages: testPages, Sequence: 1}
	j, err := Open(dir, c, true)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	found, err := j.Recover()
	require.NoError(t, err)
	require.Empty(t, found)
	return j, c, dir
}

// reopen closes nothing: it looks at the file as the next start would.
func reopen(t *testing.T, dir string, c Checkpoint) (*Ring, []Group) {
	j, err := Open(dir, c, false)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	found, err := j.Recover()
	require.NoError(t, err)
	return j, found
}

func page(tag byte) []byte { return bytes.Repeat([]byte{tag}, PageSize) }

// write appends one group of one run of blocks, each filled with tag.
func write(t *testing.T, j *Ring, layer, first uint64, blocks int, tag byte) Group {
	g, err := j.Append([]Run{{Kind: Write, Layer: layer, First: first, Count: uint32(blocks)}}, [][]byte{bytes.Repeat(page(tag), blocks)})
	require.NoError(t, err)
	return g
}

func TestRecoverFindsWhatWasAppended(t *testing.T) {
	j, c, dir := create(t)
	var want []Group
	want = append(want, write(t, j, 3, 10, 2, 1))
	rows := EncodeRows([]Row{{Key: []byte("k"), Value: []byte("v")}, {Key: []byte("gone")}})
	blob := append(bytes.Clone(rows), make([]byte, PageSize-len(rows))...)
	g, err := j.Append([]Run{{Kind: Zero, Layer: 4, First: 5, Count: 1 << 31}, {Kind: Rows, First: uint64(len(rows)), Count: 1}}, [][]byte{blob})
	require.NoError(t, err)
	want = append(want, g)

	k, got := reopen(t, dir, c)
	require.Equal(t, want, got)
	require.Equal(t, j.Head(), k.Head())
	require.Equal(t, page(1), k.Page(got[0].Runs[0].Page+1, 1))
	decoded, err := DecodeRows(k.Page(got[1].Runs[1].Page, 1)[:len(rows)])
	require.NoError(t, err)
	require.Equal(t, []Row{{Key: []byte("k"), Value: []byte("v")}, {Key: []byte("gone")}}, decoded)
	require.Greater(t, k.Epoch(), j.Epoch())
}

// Groups of random sizes go round the ring many times; what lies between tail and
// head is found at every step, with its checksums.
func TestRingWraps(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	j, c, dir := create(t)
	var alive []Group
	for i := range 500 {
		n := 1 + random.IntN(20)
		for j.Used()+j.Needs(uint64(HeaderPages(1)+n)) > j.Pages() {
			g := alive[0]
			alive = alive[1:]
			c.Position, c.Sequence = g.End, g.Sequence+1
			j.Free(g.End)
		}
		before := j.Head()
		g := write(t, j, 1, uint64(i), n, byte(i))
		if g.Position != before { // padding is a group, too
			alive = append(alive, Group{Position: before, End: g.Position, Sequence: g.Sequence - 1})
		}
		alive = append(alive, g)
		require.LessOrEqual(t, j.Used(), j.Pages())
		if random.IntN(10) > 0 {
			continue
		}
		k, got := reopen(t, dir, c)
		require.Len(t, got, len(alive))
		for i := range got {
			require.Equal(t, alive[i].Position, got[i].Position)
			require.Equal(t, alive[i].Sequence, got[i].Sequence)
			for _, r := range got[i].Runs {
				if r.Kind != Write {
					continue
				}
				require.Equal(t, page(byte(r.First)), k.Page(r.Page, 1))
				for n := r.Page; n < r.Page+uint64(r.Count); n++ { // appended, and found
					require.Equal(t, sum.Of(page(byte(r.First))), j.Sum(n))
					require.Equal(t, j.Sum(n), k.Sum(n))
				}
			}
		}
	}
}

// damage changes one byte of the file behind the ring's back.
func damage(t *testing.T, dir string, at int64) {
	f, err := os.OpenFile(fileName(dir, 7), os.O_RDWR, 0)
	require.NoError(t, err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	require.NoError(t, err)
	b[0] ^= 1
	_, err = f.WriteAt(b, at)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// TestTornGroupEndsRecovery damages each part of a group: it and what follows are not
// replayed. It was seen to fail without the comparison of sums in decodeGroup.
func TestTornGroupEndsRecovery(t *testing.T) {
	for name, at := range map[string]func(g Group) uint64{
		"header": func(g Group) uint64 { return g.Position*PageSize + 16 },
		"entry":  func(g Group) uint64 { return g.Position*PageSize + groupHeader },
		"data":   func(g Group) uint64 { return g.Runs[0].Page*PageSize + 2*PageSize - 1 },
		"magic":  func(g Group) uint64 { return g.Position * PageSize },
		"sum":    func(g Group) uint64 { return g.Position*PageSize + 4 },
	} {
		t.Run(name, func(t *testing.T) {
			j, c, dir := create(t)
			first, second := write(t, j, 1, 0, 2, 1), write(t, j, 1, 2, 2, 2)
			write(t, j, 1, 4, 2, 3)
			damage(t, dir, int64(at(second)))
			_, got := reopen(t, dir, c)
			require.Equal(t, []Group{first}, got)
		})
	}
}

// What an unclean end lost must not come back through its successors: a later group
// of the lost time stands exactly behind the new one that took the lost one's place. It was
// seen to fail without the comparison of epochs in Ring.Recover.
func TestLostTimeStaysLost(t *testing.T) {
	j, c, dir := create(t)
	write(t, j, 1, 0, 2, 1)
	lost := write(t, j, 1, 2, 2, 2)
	write(t, j, 1, 4, 2, 3)
	damage(t, dir, int64(lost.Runs[0].Page*PageSize))

	k, got := reopen(t, dir, c)
	require.Len(t, got, 1)
	c.Epoch = k.Epoch()
	anew := write(t, k, 1, 8, 2, 9)
	require.Equal(t, lost.Position, anew.Position)
	require.Equal(t, lost.Sequence, anew.Sequence)

	_, got = reopen(t, dir, c)
	require.Len(t, got, 2, "the third group is of an earlier epoch")
	require.Equal(t, uint64(8), got[1].Runs[0].First)
}

func TestOtherFiles(t *testing.T) {
	j, c, dir := create(t)
	write(t, j, 1, 0, 2, 1)
	require.NoError(t, os.WriteFile(fileName(dir, 8), []byte("left by a crash"), 0o600))
	require.NoError(t, j.RemoveOthers(dir))
	names, err := filepath.Glob(filepath.Join(dir, "journal-*"))
	require.NoError(t, err)
	require.Equal(t, []string{fileName(dir, 7)}, names)

	_, err = Open(dir, Checkpoint{ID: 9, Pages: testPages}, false)
	require.ErrorIs(t, err, os.ErrNotExist)
	c.Pages++
	_, err = Open(dir, c, false)
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, fileName(dir, 7))
}

// A failed flush may have lost any page, and a later one would not tell: fdatasync
// answers with success then, as it does here of another file. It was seen to fail with
// journal.Fail taken out of Ring.sync.
func TestFailureIsFinal(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(dir, Checkpoint{ID: 7, Pages: testPages, Sequence: 1}, true)
	require.NoError(t, err)
	write(t, j, 1, 0, 1, 1)
	require.NoError(t, j.Lost())
	require.NoError(t, j.f.Close())
	require.Error(t, j.Flush())
	require.ErrorIs(t, j.Lost(), syscall.EBADF)
	_, err = j.Append([]Run{{Kind: Zero, Layer: 1, Count: 1}}, nil)
	require.ErrorIs(t, err, syscall.EBADF)
	require.Error(t, j.Flush())
	require.ErrorIs(t, j.Err(), syscall.EBADF)
	j.f, err = os.OpenFile(fileName(dir, 7), os.O_RDWR, 0)
	require.NoError(t, err)
	require.ErrorIs(t, j.Flush(), syscall.EBADF)
	_, err = j.Append([]Run{{Kind: Zero, Layer: 1, Count: 1}}, nil)
	require.ErrorIs(t, err, syscall.EBADF)
	require.NoError(t, j.Close())
}

// A page that was read while it was overwritten is told apart.
func TestCopyPage(t *testing.T) {
	j, _, _ := create(t)
	g := write(t, j, 1, 0, 1, 5)
	p := make([]byte, PageSize)
	require.True(t, j.CopyPage(p, g.Runs[0].Page))
	require.Equal(t, page(5), p)
	j.Free(g.End)
	require.False(t, j.CopyPage(p, g.Runs[0].Page))
}

func TestFlushOfNothingNew(t *testing.T) {
	j, _, _ := create(t)
	write(t, j, 1, 0, 1, 1)
	require.NoError(t, j.Flush())
	require.Equal(t, j.Head(), j.Stable())
	require.NoError(t, j.f.Close())
	require.NoError(t, j.Flush(), "all is on stable storage already")
	require.NoError(t, func() (err error) { j.f, err = os.Open(os.DevNull); return err }())
}

func FuzzDecodeGroup(f *testing.F) {
	g := Group{Position: 5, End: 8, Sequence: 3, Epoch: 1, Runs: []Run{{Kind: Write, Layer: 1, First: 2, Count: 2}}}
	b := make([]byte, 3*PageSize)
	g.encodeHeader(b, 7)
	f.Add(b[:PageSize], uint64(5), uint64(3))
	f.Fuzz(func(t *testing.T, b []byte, position, sequence uint64) {
		b = append(b, make([]byte, 2*PageSize)...)
		if len(b) >= PageSize { // let the fuzzer past the checksum
			if runs := int(uint32(b[36])<<24 | uint32(b[37])<<16 | uint32(b[38])<<8 | uint32(b[39])); runs <= 4 {
				s := seal(b, runs, []uint32{sum.Of(b[PageSize : 2*PageSize])})
				b[4], b[5], b[6], b[7] = byte(s>>24), byte(s>>16), byte(s>>8), byte(s)
			}
		}
		g, err := decodeGroup(b, make([]uint32, len(b)/PageSize), 7, position, sequence)
		if err != nil {
			return
		}
		if g.Position != position || g.End-g.Position > uint64(len(b))/PageSize {
			t.Fatalf("%+v in %d bytes", g, len(b))
		}
		for _, r := range g.Runs {
			if r.Page < g.Position || r.Page+r.dataPages() > g.End {
				t.Fatalf("run %+v lies outside of its group %+v", r, g)
			}
		}
	})
}

func FuzzDecodeRows(f *testing.F) {
	f.Add(EncodeRows([]Row{{Key: []byte("k"), Value: []byte("v")}, {Key: []byte("gone")}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, err := DecodeRows(b)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		again, err := DecodeRows(EncodeRows(rows))
		require.NoError(t, err)
		require.Equal(t, len(rows), len(again))
		for i := range rows {
			require.True(t, bytes.Equal(rows[i].Key, again[i].Key) && bytes.Equal(rows[i].Value, again[i].Value))
			require.Equal(t, rows[i].Value == nil, again[i].Value == nil)
		}
	})
}
