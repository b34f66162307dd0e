// Package soak puts everything on one array at once, for as long as one likes: random
// reads, writes, FUA, flushes, UNMAP, WRITE SAME, COMPARE AND WRITE of mixed sizes from
// several hosts on all volumes, while snapshots (of several volumes at one instant),
// clones, fast clones, reverts and deletions go on through the API. `make soak` does so
// for an hour with the race detector on small volumes, and for an hour on 4 GiB with the
// program as users have it; `make test` for seconds.
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
// It was seen to find, within seconds: the sources of a set of snapshots frozen one after the other
// (Engine.Snapshot called for each), UNMAP that leaves a part of a block as it was, and COMPARE
// AND WRITE whose miscompare is not returned.
//
// # Goroutines
//
// A crew (load.go) of workers, a keeper (keeper.go) and a sampler (sample.go), in one errgroup:
// the first error ends all. A volume's lock is held for reading by those who use it, and
// for writing by the keeper while it reverts or deletes it.
package soak
