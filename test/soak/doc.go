// Package soak puts everything on one array at once, for as long as one likes: random
// reads, writes, FUA, flushes, UNMAP, WRITE SAME, COMPARE AND WRITE of mixed sizes from
// several hosts on all volumes, while snapshots (of several volumes at one instant),
// clones, fast clones, reverts and deletions go on through the API. `make soak` does so
// for an hour with the race detector on small volumes, and for an hour on 4 GiB with the
// program as users have it; `make test` for seconds.
//
// What volumes hold is judged by the oracle of test/oracle. With it the soak was seen to find, within
// seconds: the sources of a set of snapshots frozen one after the other (Engine.Snapshot called for
// each), UNMAP that leaves a part of a block as it was, and COMPARE AND WRITE whose miscompare is not
// returned.
//
// # Goroutines
//
// A crew (load.go) of workers, a keeper (keeper.go) and a sampler (sample.go), in one errgroup:
// the first error ends all. A volume's lock is held for reading by those who use it, and
// for writing by the keeper while it reverts or deletes it.
package soak
