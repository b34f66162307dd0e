package badger

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger/values"
)

// damagesVariable says how many damages TestDamageAnywhere does.
const damagesVariable = "VVSIM_DAMAGES"

// contents is what a directory holds: blocks of volumes by the byte that they are full of, and rows.
type contents struct {
	volumes map[store.ID][]byte
	rows    map[string][]byte
}

// fillContent makes an engine hold some of everything: records, what is in the journal only, layers,
// ranges of zeros in long rows and short ones, and rows in value logs and in the tree.
func fillContent(t *testing.T, r *rand.Rand) (*Engine, contents) {
	const blocks = 3000
	a, b, s := store.ID{1}, store.ID{2}, store.ID{3}
	e := still(t, t.TempDir())
	c := contents{volumes: map[store.ID][]byte{}, rows: map[string][]byte{}}
	put := func(id store.ID, block uint64, value byte) {
		write(t, e, id, block, value)
		c.volumes[id][block] = value
	}
	for _, id := range []store.ID{a, b} {
		require.NoError(t, e.Create(t.Context(), id, store.CreateOptions{Size: blocks * blockSize}))
		c.volumes[id] = make([]byte, blocks)
		for i := range uint64(blocks) {
			put(id, i, byte(1+r.IntN(255)))
		}
	}
	require.NoError(t, e.Snapshot(t.Context(), []store.SnapshotSpec{{Source: a, Snapshot: s}}))
	c.volumes[s] = bytes.Clone(c.volumes[a])
	disk, err := e.Open(t.Context(), a)
	require.NoError(t, err)
	for i := uint64(0); i < blocks; i += 7 {
		require.NoError(t, disk.Unmap(t.Context(), i*blockSize, blockSize, store.WriteOptions{}))
		c.volumes[a][i] = 0
	}
	require.NoError(t, e.Close()) // all of it is in records
	e = still(t, e.o.Dir)
	require.NoError(t, e.Meta().Update(t.Context(), func(tx store.MetaTx) error {
		for i := range 20 {
			key := fmt.Sprintf("row %d", i)
			c.rows[key] = bytes.Repeat([]byte{byte(i + 1)}, (1+i%2*100)*100)
			if err := tx.Set([]byte(key), c.rows[key]); err != nil {
				return err
			}
		}
		return nil
	}))
	for range 300 {
		put(b, r.Uint64N(blocks), byte(1+r.IntN(255)))
	}
	require.NoError(t, e.journal.Flush())
	put(b, 0, c.volumes[b][0]) // tells of the flush, as a checkpoint would soon; what is behind it nothing tells of
	return e, c
}

// Kinds of damage. The first ones leave the file as long as it is.
const (
	flipped = iota
	zeroed
	erased
	noisy
	cutShort
	taken
	damageKinds
)

// damage changes a file somewhere, as a disk or an operator would, in one of the first so many ways, and tells how.
func damage(t *testing.T, r *rand.Rand, name string, kinds int) string {
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	if len(b) == 0 {
		return "nothing"
	}
	at := r.IntN(len(b))
	if r.IntN(2) == 0 { // where it holds something
		for tries := 0; b[at] == 0 && tries < 1000; tries++ {
			at = r.IntN(len(b))
		}
	}
	page := b[at/512*512 : min(len(b), at/512*512+512)]
	kind := r.IntN(kinds)
	switch kind {
	case flipped:
		b[at] ^= 1 << r.IntN(8)
	case zeroed:
		clear(page)
	case erased:
		copy(page, bytes.Repeat([]byte{0xff}, len(page)))
	case noisy:
		for i := range page {
			page[i] = byte(r.Uint32())
		}
	case cutShort:
		require.NoError(t, os.Truncate(name, int64(at)))
	case taken:
		require.NoError(t, os.Remove(name))
	}
	if kind < cutShort {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteAt(page, int64(at/512*512))
		require.NoError(t, errors.Join(err, f.Close()))
	}
	return fmt.Sprintf("%s at byte %d of %d", [...]string{"bit", "zeros", "ones", "noise", "cut", "gone"}[kind], at, len(b))
}

// requireContent reads all that a directory holds: each block and row is what was written, or an
// error of the medium. It returns how many were errors.
func requireContent(t *testing.T, e *Engine, c contents, what string) (lost int) {
	p, want := make([]byte, blockSize), make([]byte, blockSize)
	for id, blocks := range c.volumes {
		o, err := e.Open(t.Context(), id)
		require.NoError(t, err, what)
		for i, value := range blocks {
			err := o.ReadAt(t.Context(), p, uint64(i)*blockSize)
			var m *store.MediumError
			if errors.As(err, &m) {
				require.EqualValues(t, i*blockSize, m.Offset, what)
				lost++
				continue
			}
			require.NoError(t, err, what)
			for k := range want {
				want[k] = value
			}
			require.True(t, bytes.Equal(want, p), "%s: block %d of %v is of %#x, wanted %#x", what, i, id, p[0], value)
		}
	}
	for key, want := range c.rows {
		err := e.Meta().View(t.Context(), func(tx store.MetaTx) error {
			got, err := tx.Get([]byte(key))
			if err == nil {
				require.True(t, bytes.Equal(want, got), "%s: %s", what, key)
			}
			return err
		})
		if errors.Is(err, values.ErrDamaged) {
			lost++
			continue
		}
		require.NoError(t, err, "%s: %s", what, key)
	}
	return lost
}

// TestDamageAnywhere damages any file of a directory anywhere, after a stop and after the end of the
// process: the start fails and names the file, or whatever is read is what was written or an error,
// what is written anew is kept, and the engine stops. Each of its findings has a test of its own: lengths
// of records and tables that end the process or hang it, an end of the list of tables or a log of a memory table
// that is missing, first bytes of zeros. It was seen to fail with the comparison taken out of
// index.VerifyBlock, and to end the process without files.checkTables.
func TestDamageAnywhere(t *testing.T) {
	damages, r := damaging(t)
	e, c := fillContent(t, r)
	bases := []string{killed(t, e)}
	require.NoError(t, e.Close())
	bases = append(bases, e.o.Dir)
	for _, dir := range bases {
		sound := t.TempDir()
		require.NoError(t, os.CopyFS(sound, os.DirFS(dir)))
		require.Equal(t, "whole", opened(t, sound, "", c, "nothing damaged"))
	}
	outcomes := map[string]int{}
	for i := range damages {
		dir := t.TempDir()
		require.NoError(t, os.CopyFS(dir, os.DirFS(bases[i%2])))
		var names []string
		require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				names = append(names, path)
			}
			return err
		}))
		name := names[r.IntN(len(names))]
		what := fmt.Sprintf("%d: %s: %s, killed %v", i, filepath.Base(name), damage(t, r, name, damageKinds), i%2 == 0)
		t.Log(what)
		outcome := opened(t, dir, name, c, what)
		t.Log(outcome)
		outcomes[filepath.Ext(name)+" "+outcome]++
		require.NoError(t, os.RemoveAll(dir))
	}
	t.Log(outcomes)
}

// damaging tells how many damages to do, and what chooses them.
func damaging(t *testing.T) (damages int, r *rand.Rand) {
	damages = 20
	if n, err := strconv.Atoi(os.Getenv(damagesVariable)); err == nil {
		damages = n
	}
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("VVSIM_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("seed %d (VVSIM_SEED), %d damages (%s=N for more)", seed, damages, damagesVariable)
	return damages, rand.New(rand.NewPCG(seed, 0))
}

// TestDamageUnderway damages value logs anywhere under an engine that is open: whatever is read is what was
// written or an error, logs are collected, and the engine stops. It was seen to fail with the comparison taken
// out of index.VerifyBlock.
func TestDamageUnderway(t *testing.T) {
	damages, r := damaging(t)
	e, c := fillContent(t, r)
	require.NoError(t, e.Close())
	lost := 0
	for i := range damages {
		dir := t.TempDir()
		require.NoError(t, os.CopyFS(dir, os.DirFS(e.o.Dir)))
		e := still(t, dir)
		require.Zero(t, requireContent(t, e, c, "nothing damaged"))
		logs, err := filepath.Glob(filepath.Join(dir, "badger", "*.vlog"))
		require.NoError(t, err)
		name := logs[r.IntN(len(logs))]
		what := fmt.Sprintf("%d: %s: %s", i, filepath.Base(name), damage(t, r, name, cutShort))
		t.Log(what)
		e.places.Expire(time.Now())
		now := requireContent(t, e, c, what)
		lost += now
		require.LessOrEqual(t, now, requireInUse(t, e, store.ID{9}, c, what), what)
		require.NoError(t, os.RemoveAll(dir))
	}
	t.Logf("%d blocks and rows were errors", lost)
}

// requireInUse makes a volume, writes to it, collects, reads all, and closes. It returns how many were errors.
func requireInUse(t *testing.T, e *Engine, id store.ID, c contents, what string) (lost int) {
	require.NoError(t, e.Create(t.Context(), id, store.CreateOptions{Size: 1 << 20}), what)
	write(t, e, id, 1, 0x99)
	_, err := e.values.Collect(0.1, e.closed.Load, e.step)
	require.NoError(t, err, what)
	lost = requireContent(t, e, c, what)
	requireBlock(t, e, id, 1, 0x99)
	require.NoError(t, e.Close(), what)
	return lost
}

// opened opens a damaged directory and uses it, twice, and tells what came of it.
func opened(t *testing.T, dir, damaged string, c contents, what string) string {
	lost := 0
	for again := range 2 {
		o := small(dir)
		o.CollectEvery = time.Hour
		o.Warn = func(string) {}
		e, err := Open(t.Context(), o)
		if err != nil {
			if table, ok := strings.CutSuffix(filepath.Base(damaged), ".sst"); ok && strings.Contains(what, "gone") {
				require.ErrorContains(t, err, "table "+strings.TrimLeft(table, "0"), what)
			} else {
				require.ErrorContains(t, err, filepath.Base(damaged), what)
			}
			return "refused"
		}
		lost = requireContent(t, e, c, what)
		require.Equal(t, lost, requireInUse(t, e, store.ID{9, byte(again)}, c, what), what)
	}
	if lost > 0 {
		return "errors"
	}
	return "whole"
}
