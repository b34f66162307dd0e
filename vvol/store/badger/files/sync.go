package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"vvsim/vvol/store/badger/journal"
)

// Directory is Badger's directory. Safe for concurrent use.
type Directory struct {
	path  string
	syncs *journal.Rounds

	values, tables         reserve // logs of values and of memory tables
	valueBytes, tableBytes int64   // their sizes
	spare, last            spare

	marks   marks       // how far the last sync reached; runner only, and Check
	reached []tableMark // how far the logs of memory tables were looked through; runner only
	newest  newestLog   // runner only

	oldest string // newest value log of the last sync: older ones need no other; runner only
	known  string // names of the last sync, to see new directory entries; runner only
}

// New returns the Directory at path, whose value logs and memory tables have these sizes.
func New(path string, valueBytes, tableBytes int64) *Directory {
	d := &Directory{path: path, valueBytes: valueBytes, tableBytes: tableBytes, spare: spare{name: filepath.Join(path, "spare"), bytes: spareBytes},
		last: spare{name: filepath.Join(path, "last"), bytes: lastBytes}, marks: marks{name: filepath.Join(path, "synced")},
		values: reserve{path: path, ext: ".vlog", digits: 6}, tables: reserve{path: path, ext: ".mem", digits: 5}}
	d.syncs = journal.NewRounds(d.sync)
	return d
}

// Sync returns when everything that was committed to Badger before the call is on
// stable storage. Badger's own Sync leaves out a memory table's log that was rotated
// and not yet flushed, and value logs rotated since; so the files are synced through
// descriptors of our own: value logs first, as the other logs point into them, then
// memory table logs. A file that vanished meanwhile became a table, which Badger syncs
// itself. One round serves all who asked before it began.
//
// Before Sync returns it has noted how far the logs of memory tables reach, so that Check
// tells damage to what was synced from an unclean end, and how far the value logs.
func (d *Directory) Sync() error { return d.syncs.Do() }

// Synced is the place in the value logs before which all was on stable storage when the
// directory was last used. After Check.
func (d *Directory) Synced() Position { return d.marks.found.values }

// sync syncs the logs once.
func (d *Directory) sync() error {
	manifest, err := markManifest(d.path, d.marks.saved.manifest) // before the logs are listed: the newest of them is no table yet
	if err != nil {
		return err
	}
	at, err := d.values.position() // what is written from here on may be synced or not
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	var values, tables []string
	for _, f := range entries {
		switch name := f.Name(); {
		case strings.HasSuffix(name, ".vlog") && name >= d.oldest:
			values = append(values, name)
		case strings.HasSuffix(name, ".mem"):
			tables = append(tables, name)
		}
	}
	sort.Strings(values)
	marked, newest, err := d.markTableLogs(tables) // likewise
	if err != nil {
		return err
	}
	manifest.Base = d.base(manifest, marked, newest)
	for _, name := range append(values, tables...) {
		if err := journal.SyncFile(filepath.Join(d.path, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if names := strings.Join(append(values, tables...), " "); names != d.known {
		if err := journal.SyncFile(d.path); err != nil {
			return err
		}
		d.known = names
	}
	if err := d.marks.save(synced{at, manifest, marked}); err != nil {
		return err
	}
	if len(values) > 0 {
		d.oldest = values[len(values)-1]
	}
	return nil
}
