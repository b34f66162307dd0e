package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// RemoveUnborn removes logs of Badger that a crash left between their creation and
// their first byte: they hold nothing, and Badger refuses to open beside one.
func (d *Directory) RemoveUnborn() error {
	files, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	for _, f := range files {
		if ext := filepath.Ext(f.Name()); ext != ".vlog" && ext != ".mem" {
			continue
		}
		info, err := f.Info()
		if err != nil {
			return err
		}
		if info.Size() == 0 {
			if err := os.Remove(filepath.Join(d.path, f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// Sizes tells the bytes on disk of Badger's tree and of its value logs, less what is
// allocated ahead.
func (d *Directory) Sizes() (tree, values uint64) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return 0, 0 // a gauge; whoever needs the directory meets the error
	}
	for _, f := range entries {
		info, err := f.Info()
		if errors.Is(err, fs.ErrNotExist) || err != nil {
			continue
		}
		n := occupied(info)
		n -= min(n, d.values.unwritten(f.Name())+d.tables.unwritten(f.Name()))
		if strings.HasSuffix(f.Name(), ".vlog") {
			values += n
		} else {
			tree += n
		}
	}
	return tree, values
}

// ValueLog is the path of a value log.
func (d *Directory) ValueLog(number uint64) string { return d.values.name(number) }

// NewestValueLog is the number of the value log that Badger writes to.
func (d *Directory) NewestValueLog() (uint64, error) { return d.values.newest() }
