package badger

import (
	"fmt"
	"time"

	"vvsim/vvol/store/badger/complaints"
	"vvsim/vvol/store/badger/files"
	"vvsim/vvol/store/badger/index"
	"vvsim/vvol/store/badger/journal"
	"vvsim/vvol/store/badger/rows"
)

// Options of an Engine.
type Options struct {
	Dir  string // created when missing
	Sync bool   // every write is on stable storage before it returns

	// JournalBytes is the size of the journal in front of Badger: what may be replayed
	// at open. A directory keeps the size it has while its journal holds anything.
	JournalBytes int64
	// ValueLogBytes is the size of one value log file.
	ValueLogBytes int64
	// LeaveLogs has Badger read each value log before it deletes it, dead or not, instead of
	// making the first checksum of a dead one wrong, where it stops.
	LeaveLogs bool
	// CollectEvery is the pause between rounds of the collector.
	CollectEvery time.Duration
	// Warn is told, from any goroutine, what an operator should know.
	Warn func(message string)
}

// Defaults and limits.
const (
	defaultJournalBytes  = 256 << 20
	minJournalBytes      = 16 << 20
	maxJournalBytes      = 4 << 30
	defaultValueLogBytes = 64 << 20
	defaultCollectEvery  = 500 * time.Millisecond

	memTableBytes  = 4 << 20 // small: a deletion counts as discarded when its table has been compacted
	tableBytes     = 1 << 20 // of a table of the tree; each of the builders at work keeps twice as much
	commitBlocks   = 512     // of one transaction of Badger, which holds 15 % of a memory table
	valueThreshold = rows.Threshold
	blockSize      = index.BlockSize
	maxTransfer    = 4 << 20
	maxUnmap       = 512 << 20
	maxSize        = index.MaxBlocks * blockSize
	maxDepth       = 320 // layers of a chain: 256 snapshots of a volume, and clones of clones
	maxSnapshot    = 256
	maxRows        = 2 << 20 // bytes of rows of one transaction
	maxRowPages    = maxRows/journal.PageSize + 64
	fewRowPages    = 16  // of a change of a full array: volumes can be deleted
	keptRowPages   = 256 // of the journal that writes leave to such changes
	rowOverhead    = 16
	minFree        = 256 << 20                                 // bytes that a file system must have left for writes
	minFreeForRows = 64 << 20                                  // and for rows, so that volumes of a full array can be deleted
	minFreeToOpen  = 8 << 20                                   // and for opening: Badger begins logs and writes tables
	valuesAhead    = drainPages*blockSize + files.NextLogBytes // of the value log that are allocated before transactions
	mergeBatch     = 512                                       // records that change their layer in one transaction
	maxMergeWait   = 5 * time.Second                           // of a snapshot for merges that make its chain shorter
	dropsAtOnce    = 64                                        // layers dropped in one round of the collector
	moveUpAtOnce   = 16                                        // records whose blocks move into another layer under one hold of the index's lock
	unloadAtOnce   = 2048                                      // records buried under one hold of the index's lock
	forgetAtOnce   = 256                                       // chunks that a deleted volume is taken from under one
	readTries      = 100                                       // a record that moves while it is read
	deleteBatch    = 512                                       // records deleted in one transaction
	deadAtOnce     = 1024                                      // dead records that are worth a checkpoint: a quarter of a GiB
	garbageSlack   = 64 << 20                                  // dead bytes that are always tolerated
	valueLogSlack  = 256 << 20                                 // of Badger's files, before they are collected
)

func (o *Options) ensureDefaults() {
	if o.JournalBytes == 0 {
		o.JournalBytes = defaultJournalBytes
	}
	o.JournalBytes = min(max(o.JournalBytes, minJournalBytes), maxJournalBytes) / journal.PageSize * journal.PageSize
	if o.ValueLogBytes == 0 {
		o.ValueLogBytes = defaultValueLogBytes
	}
	if o.CollectEvery == 0 {
		o.CollectEvery = defaultCollectEvery
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	o.Warn = complaints.Sparing(o.Warn)
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
