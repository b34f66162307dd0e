package journal

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// damageAt changes one byte of a page.
func damageAt(t *testing.T, dir string, page uint64) {
	damage(t, dir, int64(page%testPages*PageSize)+5)
}

func requireRefused(t *testing.T, dir string, c Checkpoint, page uint64) {
	j, err := Open(dir, c, false)
	require.NoError(t, err)
	defer func() { require.NoError(t, j.Close()) }()
	before, err := os.ReadFile(fileName(dir, c.ID))
	require.NoError(t, err)
	_, err = j.Recover()
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, fmt.Sprintf("%s is damaged at byte %d:", fileName(dir, c.ID), page%testPages*PageSize))
	after, err := os.ReadFile(fileName(dir, c.ID))
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// TestDamagedBelowStable damages a group that a flush had covered. A later group that is
// whole tells so, wherever it stands and although it cannot be replayed. It was seen to
// fail without the comparison in Ring.Recover.
func TestDamagedBelowStable(t *testing.T) {
	for name, where := range map[string]func(g Group) uint64{
		"header": func(g Group) uint64 { return g.Position },
		"data":   func(g Group) uint64 { return g.Runs[0].Page + 1 },
	} {
		t.Run(name, func(t *testing.T) {
			j, c, dir := create(t)
			write(t, j, 1, 0, 2, 1)
			second := write(t, j, 1, 2, 2, 2)
			third := write(t, j, 1, 4, 2, 3)
			require.NoError(t, j.Flush())
			write(t, j, 1, 6, 2, 4)
			last := write(t, j, 1, 8, 2, 5)
			_, got := reopen(t, dir, c)
			require.Len(t, got, 5)
			damageAt(t, dir, where(second))
			requireRefused(t, dir, c, second.Position)
			damageAt(t, dir, where(third)) // the first one that is damaged is named
			requireRefused(t, dir, c, second.Position)
			damageAt(t, dir, where(second))
			requireRefused(t, dir, c, third.Position)
			damageAt(t, dir, last.Position) // the one before it is proof enough
			requireRefused(t, dir, c, third.Position)
		})
	}
}

// TestTornBehindStable takes any of the groups that no flush covered, and all behind it
// one by one: that is what a power cut does. It was seen to fail without the comparison of
// sums in decodeGroup, and with the head taken for what is stable in Ring.write.
func TestTornBehindStable(t *testing.T) {
	j, c, dir := create(t)
	write(t, j, 1, 0, 2, 1)
	require.NoError(t, j.Flush())
	c.Stable = j.Stable()
	var loose []Group
	for i := range 4 {
		loose = append(loose, write(t, j, 1, uint64(2+2*i), 2, byte(2+i)))
	}
	for lost := range 1 << len(loose) {
		want := 1 + len(loose)
		for i := len(loose) - 1; i >= 0; i-- {
			if lost>>i&1 == 1 {
				want = 1 + i
				damageAt(t, dir, loose[i].Position+1)
			}
		}
		_, got := reopen(t, dir, c)
		require.Len(t, got, want)
		for i := range loose {
			if lost>>i&1 == 1 {
				damageAt(t, dir, loose[i].Position+1)
			}
		}
	}
}

// TestDamagedBelowCheckpointStable has no group behind the damaged one; the checkpoint
// knows. It was seen to fail with claimed taken out of Ring.wasStable.
func TestDamagedBelowCheckpointStable(t *testing.T) {
	j, c, dir := create(t)
	write(t, j, 1, 0, 2, 1)
	last := write(t, j, 1, 2, 2, 2)
	require.NoError(t, j.Flush())
	damageAt(t, dir, last.Position)
	_, got := reopen(t, dir, c)
	require.Len(t, got, 1, "nothing tells that it was there")
	c.Stable = j.Stable()
	requireRefused(t, dir, c, last.Position)
}

// TestDamagedInNextLap has the proof in the next lap of the ring, in front of the damaged
// group, and behind a checkpoint that is older than what was overwritten. It was seen to
// fail with eachWritten taken out of Ring.wasStable, and with pages in front of the damaged group left out there.
func TestDamagedInNextLap(t *testing.T) {
	j, c, dir := create(t)
	old := c
	var all []Group
	for range testPages/3 - 1 {
		all = append(all, write(t, j, 1, 0, 2, 1))
	}
	require.NoError(t, j.Flush())
	c.Position, c.Sequence = all[4].End, all[4].Sequence+1
	j.Free(c.Position)
	for j.Head() < testPages+6 {
		write(t, j, 1, 0, 2, 2)
	}
	_, got := reopen(t, dir, c)
	require.Len(t, got, len(all)-5+int(j.sequence-all[len(all)-1].Sequence)-1)
	requireRefused(t, dir, old, 0)
	damageAt(t, dir, all[10].Position)
	requireRefused(t, dir, c, all[10].Position)
	for page := all[len(all)-1].End; page < testPages; page++ { // what proves it behind the damaged group
		damageAt(t, dir, page)
	}
	requireRefused(t, dir, c, all[10].Position)
}

// TestLostTimeIsNoProof loses groups that were never flushed, goes on in their place and
// flushes that: what is left of the lost ones proves nothing, also when the new ones are
// torn in their turn. It was seen to fail with the head taken for what is stable in Ring.write,
// and with each whole group taken for a proof of what is before it in Ring.wasStable.
func TestLostTimeIsNoProof(t *testing.T) {
	j, c, dir := create(t)
	write(t, j, 1, 0, 2, 1)
	require.NoError(t, j.Flush())
	lost := write(t, j, 1, 2, 2, 2)
	write(t, j, 1, 4, 2, 3)
	write(t, j, 1, 6, 2, 4)
	damageAt(t, dir, lost.Position)
	k, got := reopen(t, dir, c)
	require.Len(t, got, 1)
	require.NoError(t, k.Flush())
	c.Epoch, c.Stable = k.Epoch(), k.Stable()
	write(t, k, 1, 2, 2, 5)
	anew := write(t, k, 1, 4, 2, 6)
	damageAt(t, dir, anew.Position)
	_, got = reopen(t, dir, c)
	require.Len(t, got, 2)
}

// TestEachWritten sees every page that was written and leaves out holes.
func TestEachWritten(t *testing.T) {
	j, _, _ := create(t)
	for range 3 {
		write(t, j, 1, 0, 1, 1)
	}
	seen := map[uint64]bool{}
	require.NoError(t, j.eachWritten(func(p uint64) { seen[p] = true }))
	for p := range j.Head() {
		require.True(t, seen[p])
	}
}
