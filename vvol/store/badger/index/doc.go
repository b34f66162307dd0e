// Package index is the engine's memory of what lies where: the layers of all volumes,
// and for each block of a layer the record or the page of the journal that holds it.
//
// A Location is a record's id and an index in it, a page of the journal, "reads as
// zeros", or nothing: look at the parent. A Layer maps blocks to locations in chunks of
// 64 (chunk.go), which hang in a tree of fixed height (tree.go): in a chunk the blocks that
// the layer knows are the bits of a word, so that a look-up through a chain costs a few
// loads for each layer, and questions of what is seen where are answered for 64 blocks at
// once. Locations that follow each other are one run: 4 MiB that were written in sequence
// take 1 KiB of memory, written at random 9 KiB. Blocks with few others near them need no
// chunk (lone.go): they take 9 to 14 bytes each, down to one in each 64 MiB.
//
// A Record counts its blocks that a layer leads to; when none is left it is buried, and
// the engine deletes it when what took its place is on stable storage. Records with
// consecutive ids are counted together in segments, to find what is worth cleaning.
//
// What a volume shows, and what no other volume does, is counted while it changes
// (family.go), and counted anew when the index has been rebuilt.
//
// # States of a layer
//
//	head     a volume writes to it
//	frozen   no volume, several children
//	link     no volume, one child: may be merged into the child
//	merging  a link whose records are becoming those of its child
//	orphan   no volume, no child: may be dropped, when Forget has gone through it
//
// # Locking
//
// Index is one RWMutex and what it guards: the index itself, and every Layer, Volume
// and Record in it. The package takes the lock in Walk alone. Every other method says
// "R" when its caller holds the lock for reading at least, and "W" when it holds it for
// writing; while the engine opens, nobody else is there and no lock is needed. Fields
// are read under R and changed under W, but for what is said of them.
//
// The package does no I/O and starts no goroutine. It knows neither the database nor
// the journal's file: pages of the journal are numbers that grow forever.
package index
