// Package oracle knows what volumes have to hold, whatever runs at once: for the soak and the
// simulation.
//
// Every sector that is written carries the volume it was written to, its LBA, a
// generation that no other write has, and a checksum, so that what a reader finds can be
// compared byte by byte with what the Oracle knows, and named when it is wrong.
//
// # What the Oracle knows
//
// An Image is what one volume holds. No two writes in flight touch the same sector of it;
// reads go anywhere. A read has to find, sector by sector, what was there when it began,
// or what a write holds that was in flight at some moment of it. A fork (a snapshot, a
// clone) holds what its source held when the call began, and each write in flight during
// the call as a whole or not at all; the first reader of it settles which, and whoever
// finds it otherwise later, in the fork or in what was forked of it, has found an error.
// So has who finds a write in a set of forks without one that had ended before it began.
//
// A write that ended without an answer that can be believed (Abandon) is there as a whole or
// not at all, as its first reader finds, and does not come later.
package oracle
