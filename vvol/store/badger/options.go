package badger

import (
	"fmt"
	"time"
)

// Options of an Engine.
type Options struct {
	Dir  string // created when missing
	Sync bool   // every write is on stable storage before it returns

	// JournalBytes bounds the memory tables and with them the logs that are replayed
	// at open.
	JournalBytes int64
	// ValueLogBytes is the size of one value log file.
	ValueLogBytes int64
	// CollectEvery is the pause between rounds of the collector.
	CollectEvery time.Duration
	// Warn is told, from any goroutine, what an operator should know.
	Warn func(message string)
}

// Defaults and limits.
const (
	defaultMemTable      = 32 << 20
	defaultValueLogBytes = 256 << 20
	defaultCollectEvery  = 500 * time.Millisecond

	blockSize     = 4096
	blockShift    = 12
	recordBlocks  = 64
	maxTransfer   = 4 << 20
	maxUnmap      = 512 << 20
	maxSize       = 64 << 40
	maxDepth      = 64
	maxSnapshot   = 256
	batchBytes    = 8 << 20   // of one transaction
	minFree       = 256 << 20 // bytes that a file system must have left for writes
	mergeZeros    = 64        // zero entries of a layer before they are rewritten as one
	readTries     = 100       // a record that moves while it is read
	deleteBatch   = 512       // records deleted in one transaction
	garbageSlack  = 64 << 20  // dead bytes that are always tolerated
	cleanRecords  = 256       // records moved in one step
	valueLogSlack = 512 << 20 // of Badger's files, before they are collected
)

func (o *Options) ensureDefaults() {
	if o.JournalBytes == 0 {
		o.JournalBytes = defaultMemTable
	}
	o.JournalBytes = min(max(o.JournalBytes, 8<<20), 64<<20)
	if o.ValueLogBytes == 0 {
		o.ValueLogBytes = defaultValueLogBytes
	}
	if o.CollectEvery == 0 {
		o.CollectEvery = defaultCollectEvery
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
}

func (o *Options) validate() error {
	switch {
	case o.Dir == "":
		return fmt.Errorf("badger: no directory")
	case o.ValueLogBytes < 16<<20 || o.ValueLogBytes > 1<<30:
		return fmt.Errorf("badger: value log files of %d bytes are not in 16 MiB-1 GiB", o.ValueLogBytes)
	}
	return nil
}
