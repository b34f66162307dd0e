// Package badger is the default engine: volumes as layers of records in a Badger
// database, behind a journal.
//
// # Layout
//
// A directory holds lock, checkpoint (two slots), journal-<id> (a ring of 4 KiB pages,
// package journal) and badger/, the database. Blocks of 4 KiB are packed into records of
// up to 64 blocks of one layer. A record is one value (in Badger's value log) and one
// small entry that lists its blocks. In memory every layer maps its blocks to a record
// and an index in it, or to a page of the journal (package index); the maps are rebuilt
// at open. Keys of Badger, numbers big-endian:
//
//	r<id>      record: the blocks, one after the other
//	e<id>      its entry: layer, CRC32C; by block its number (all ones: no more of mine) and CRC32C
//	z<id>      zeros of a layer: layer, kept, and spans (id, first block, last block)
//	l<id>      layer, JSON: parent, pool, merging
//	v<uuid>    volume, JSON: head, size, pool, readOnly, origin, family
//	s          state, JSON: format
//	m<key>     Meta
//	f<number>  filling that makes Badger write out its memory table
//
// Records, zeros and layers take their ids from one counter. Of two records of a layer
// that list a block the one with the higher id holds, and a span hides what records of
// its layer with a lower id, and the layers below, hold. The spans of a z row keep their
// ids when rows are packed into one. A kept row was made of rows that were on stable
// storage, in the transaction that took them away, and so is valid at any id.
//
// # Layers
//
//	head     a volume writes to it
//	frozen   no volume; its children, two or more, read through it
//	merging  no volume and one child, whose records its own are becoming; its row says
//	         so before the first does, and it gets no other child
//	orphan   no volume, no child: dropped, and its records with it
//
// A snapshot freezes the head of its source and puts new empty heads above it for both;
// nothing depends on size. A frozen layer with one child is merged into it.
//
// # A write
//
// Writes that a caller has several of (WriteAll) are in one group.
// Whoever finds no other caller at work leads the committer: it gathers what waits,
// checks it, appends it to the journal as one group, lets the index lead to the
// journal's pages, tells everybody, and hands the lead on. A group is whole or absent
// after a crash. Rows (of volumes, layers and Meta) are groups too: they change memory
// when they are appended, and who appended them waits for a flush of the journal, without
// the lead. Badger, whose one writer may have large records before it, gets them later and
// in their order, after a flush: from the drainer when it comes to them, from the collector,
// or from who has to read them (rows.go). What the collector takes away waits until
// Badger has the rows that gave it up.
//
// # Goroutines
//
//	callers    lead the committer in turn; only the leader appends and changes volumes
//	drainer    alone numbers and writes records (Badger writes some while the next are
//	           packed) and z rows: drains groups, decides on
//	           checkpoints, drops and merges layers, packs zeros, cleans records that are
//	           mostly dead; late under load, thoroughly in calm
//	checkpoint one at a time, beside the drainer: waits for the disk, then deletes dead
//	           records (checkpoint.go)
//	write-out  flushes the journal whenever 4 MiB of it is not on stable storage, so that
//	           who waits for a flush waits for little (journal.Ring.WriteOut)
//	value log  runs Badger's collection (space.go, package values)
//
// A full journal brakes writers, not rows, and then holds them until the drainer has made room. The
// drainer waits while value logs hold too much for what is live (space.go).
// Locks, in the order in which they are taken: the committer's lead, Engine.structure
// (layers get and lose children and volumes), the index. Who holds structure waits
// neither for room in the journal nor for the drainer; a change has its room before it
// takes structure. Reads take the index alone, for the look-up only: a page of the
// journal that was overwritten, or a record that is gone when it is fetched, is looked up
// again. They share one view of Badger, which the drainer renews before the index leads
// to new records (package inuse), and remember where records lie and the checksums of their blocks (package places). The mutexes of
// committer and drainer guard their queues and are held for moments.
//
// # Durability
//
// An appended group is in the page cache: it survives the process. A flush is one
// fdatasync of the journal, shared by all who wait. A failed write or sync of the
// journal is final until the engine is opened anew.
//
// A checkpoint is made in this order, so that at any moment what the journal lost is on
// stable storage in Badger: Badger's files are synced (package files; its own Sync leaves out
// rotated logs), it is noted how far its logs reach, the checkpoint is saved, which says
// where the journal begins and up to which id Badger is whole, then the journal's tail
// moves, then dead records go.
//
//   - A copy of a block in the journal is drained even when a newer one is in the journal,
//     unless that is on stable storage: a power cut may take the newer one alone.
//   - A dead record is deleted when what took its place is on stable storage: it died
//     before the checkpoint's sync, and the journal is flushed to where it died, or drained.
//   - A merge begins when all of the layer and the child's zeros are behind a checkpoint,
//     and ends when the child's row is, as the journal would bring back an older one, and
//     the new entries of the records: of two logs of Badger a power cut may take the end
//     of the older one alone. What is in one transaction is whole or absent.
//   - Zeros that a merge hands to the child get the id of the merged layer, which is lower
//     than those of the child's records: one that is covered by the journal only may have
//     to hold again.
//   - Badger deletes a rewritten value log file only when the moved values are synced: an
//     open iterator keeps it until then. Until then a power cut may leave the tree leading
//     to where the values are not yet: values behind the last sync are looked at when the
//     engine opens, and found again in that file (values.Log.Restore).
//
// # Opening
//
// The end of the process and of the power take the same way. Before Badger opens, its logs
// are compared with what was noted of them (files.Directory.Check). The journal's whole groups
// from the checkpoint on are found; when they end before what was on stable storage, as the
// checkpoint or a group says, the disk is damaged and nothing is opened. Their rows are set in Badger in order; layers and
// volumes are loaded, then records and zeros by id up to the checkpoint's, and what is
// above it is deleted, as a power cut may have left parts; then the groups are applied.
// A row of the journal may bring back a layer that was dropped since: it is an orphan, or,
// when its parent is gone, forgotten. A group whose epoch is lower than that of the group
// before it is what an earlier power cut left there, and ends the journal. The journal is
// flushed before rows are set, as Badger holds no row that a power cut takes from it.
// Badger is synced and a checkpoint with a new epoch saved before anything is appended.
// Records are not read at open: every block of one is verified when it is read for the
// first time in a minute, and when it is moved.
package badger
