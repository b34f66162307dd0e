// Package badger is the default engine: volumes as layers of records in a Badger
// database.
//
// # Layout
//
// Blocks of 4 KiB are packed into records of up to 64 blocks of one layer. A
// record is one value (in Badger's value log) and one small entry that lists its
// blocks. In memory every layer maps its blocks to (record, index) in leaves of
// 512; the maps are rebuilt at open from the entries. Of two entries that list the
// same block of a layer, the one with the higher record id holds.
//
//	r<id>      record: the blocks, one after the other
//	e<id>      entry of a record: layer, CRC32C of the record, block numbers
//	z<id>      zeros: layer and block ranges that read as zeros, whatever older
//	           records of the layer or layers below it hold
//	l<id>      layer: parent, pool
//	v<uuid>    volume: head layer, size, pool, flags
//	s          state: next ids, highest record id known to be on stable storage
//	m<key>     Meta
//
// Numbers are big-endian; rows of volumes, layers and state are JSON.
//
// A snapshot freezes the head of its source and puts new empty heads above it for
// both; nothing depends on size. A frozen layer with one child and no volume is
// merged into that child in the background.
//
// # Goroutines
//
// The committer owns every change of volumes: it gathers what is waiting, checks
// it, and commits it as one Badger transaction, so that a write is whole or absent
// after a crash; it alone changes the maps. The collector deletes dead records,
// merges and deletes layers, moves the survivors of sparse records and runs
// Badger's value log collection. Flushes are shared by all who wait (sync.go).
// Close waits for both.
//
// # Durability
//
// A committed transaction has reached the kernel through Badger's mapped logs. A
// flush syncs the value logs and memtable logs itself, as Badger's own Sync leaves
// rotated logs out. A record that was superseded is deleted only after its
// successor is on stable storage, and records newer than the last known sync are
// verified at open, so that after a power cut a block reads as it was flushed or
// newer.
package badger
