// Package journal is the ring of groups in front of the engine's database, and the
// checkpoint that tells from where it has to be replayed.
//
// A group holds changes of blocks by layer, and rows. It is replayed whole or not at
// all: header and data carry one checksum, groups are numbered, and each open of the
// journal begins a new epoch, so that what an unclean end left behind the last whole
// group is never taken for its successor.
//
// The file is preallocated and overwritten in place, so that an append is one system
// call and a flush one fdatasync without metadata. Nobody but who appends writes to
// it; readers see it through a mapping, which the kernel keeps coherent.
//
// The package starts no goroutine and does not know what layers and rows mean.
package journal
