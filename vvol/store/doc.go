// Package store says what a storage engine is: the Engine that creates, opens,
// snapshots and clones volumes, the Object through which one volume is read and
// written, and Meta, the small transactional key-value space in which the
// catalog lives.
//
// The seam is the volume, not the key: how an engine keeps blocks is its own
// affair. Package storetest holds the suite every engine passes.
//
// # Durability
//
// A write that returned has reached the kernel: it survives the end of the
// process by any means. After Flush, or with WriteOptions.FUA, or when the
// engine runs with sync durability, it is on stable storage. A write of at most
// Limits.AtomicWrite bytes is all or nothing after a crash. Every method of
// Engine and every Meta.Update is on stable storage when it returns.
package store
