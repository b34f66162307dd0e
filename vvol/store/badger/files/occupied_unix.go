package files

import (
	"io/fs"
	"syscall"
)

// occupied is what a file takes on disk: Badger's logs are sparse.
func occupied(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Blocks) * 512
	}
	return uint64(info.Size())
}
