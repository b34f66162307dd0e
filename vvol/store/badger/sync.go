package badger

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"vvsim/vvol/store/badger/journal"
)

// syncer puts everything that was committed to Badger on stable storage. Badger's
// Sync leaves out a memory table's log that was rotated and not yet flushed, and
// value logs rotated since; so the files are synced through descriptors of our
// own: value logs first, as the other logs point into them, then memory table
// logs. A file that vanished meanwhile became a table, which Badger syncs itself.
type syncer struct {
	dir string
	*journal.Rounds

	oldest string // newest value log of the last sync: older ones need no other; runner only
	known  string // names of the last sync, to see new directory entries; runner only
}

func newSyncer(dir string) *syncer {
	s := &syncer{dir: dir}
	s.Rounds = journal.NewRounds(s.files)
	return s
}

// files syncs the logs once.
func (s *syncer) files() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	var values, tables []string
	for _, f := range entries {
		switch name := f.Name(); {
		case strings.HasSuffix(name, ".vlog") && name >= s.oldest:
			values = append(values, name)
		case strings.HasSuffix(name, ".mem"):
			tables = append(tables, name)
		}
	}
	sort.Strings(values)
	for _, name := range append(values, tables...) {
		if err := journal.SyncFile(filepath.Join(s.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if names := strings.Join(append(values, tables...), " "); names != s.known {
		if err := journal.SyncFile(s.dir); err != nil {
			return err
		}
		s.known = names
	}
	if len(values) > 0 {
		s.oldest = values[len(values)-1]
	}
	return nil
}
