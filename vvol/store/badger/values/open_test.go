package values

import (
	"os"
	"path/filepath"
	"testing"

	bdb "github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"vvsim/vvol/store/badger/files"
)

// TestOpenCounts takes Badger's statistics away, as a power cut does with what was added since the
// kernel wrote them out: what is dead is counted again and given back, which without Open nothing
// is. While they are there nothing is missed. It was seen to fail with dir.Count left out of Open, and with
// what is counted left out of uncounted.
func TestOpenCounts(t *testing.T) {
	dir := t.TempDir()
	db, l, d, _ := openHeard(t, dir)
	mixed(t, db)
	counted := func(d *files.Directory) map[uint64]int64 {
		all, err := d.Discards()
		require.NoError(t, err)
		dead := map[uint64]int64{}
		for _, c := range all {
			dead[c.File] = c.Dead
		}
		return dead
	}
	for tries := 0; counted(d)[1] < fileBytes/2; tries++ {
		require.Less(t, tries, 100)
		require.NoError(t, l.fillTable(atOnce, false))
		require.NoError(t, db.Flatten(1))
	}
	missed, err := uncounted(db, d)
	require.NoError(t, err)
	require.Empty(t, missed)

	for name, open := range map[string]func(bdb.Options, *files.Directory) (*bdb.DB, error){
		"without": func(o bdb.Options, _ *files.Directory) (*bdb.DB, error) { return bdb.Open(o) },
		"with":    Open,
	} {
		t.Run(name, func(t *testing.T) {
			copied := atRest(t, dir)
			before := counted(files.New(copied, fileBytes, 4<<20))
			require.NoError(t, os.Remove(filepath.Join(copied, "DISCARD")))
			db, l, d := openBy(t, copied, open)
			after := counted(d)
			if name == "without" {
				require.Less(t, after[1], before[1]/2)
				return
			}
			require.GreaterOrEqual(t, after[1], before[1])
			collectAll(t, l, d)
			requireValues(t, db, -1)
		})
	}
}

// TestOpenLeaves what comes to less than a file as it is.
func TestOpenLeaves(t *testing.T) {
	dir := t.TempDir()
	db, l, d := openBy(t, dir, Open)
	write(t, db, 17, 1)
	write(t, db, 10, 2)
	for tries := 0; ; tries++ {
		require.Less(t, tries, 100)
		all, err := d.Discards()
		require.NoError(t, err)
		if len(all) > 0 && all[0].Dead > 9<<20 {
			break
		}
		require.NoError(t, l.fillTable(atOnce, false))
		require.NoError(t, db.Flatten(1))
	}
	copied := atRest(t, dir)
	require.NoError(t, os.Remove(filepath.Join(copied, "DISCARD")))
	_, _, d = openBy(t, copied, Open)
	all, err := d.Discards()
	require.NoError(t, err)
	for _, c := range all {
		require.Less(t, c.Dead, int64(9<<20))
	}
}
