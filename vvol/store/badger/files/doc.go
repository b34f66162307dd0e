// Package files knows the files that Badger keeps in its directory, by their names:
// value logs (*.vlog), logs of memory tables (*.mem) and the rest. It puts them on
// stable storage, allocates ahead what is about to be written, tells their sizes,
// removes what a crash left unborn, and finds damage that Badger would follow, or take for an
// unclean end. It changes nothing inside of them, but for what Seal cuts off, what EndLog does to
// the first entry of a value log of which nothing is wanted, and what Count adds to statistics.
//
// Sync notes in the file "synced" how far the value logs, Badger's list of tables and each log of
// a memory table reached: a magic, a serial number, number and offset of the newest value log, a
// count, base, begin and end of the list (manifestMark), and number, nonce and end of each log of
// a table, big-endian, with a CRC32C. It has two slots of 4 KiB, written in turn. Check walks the
// logs up to there before Badger opens.
//
// It starts no goroutine.
package files
