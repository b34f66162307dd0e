// Package sim plays seeded runs of a whole array: hosts with two paths each, volumes,
// snapshots, clones, binds, faults of every layer but vasa, restarts, and deaths of the process, while
// commands are in flight; an oracle (test/oracle) judges every byte that is read. At the end all
// faults go, and after a time to settle every command has ended, every device works, every
// volume is read from end to end, the array's check of itself passes, and no goroutine is left.
//
// A run is in a synctest bubble: array, network and hosts have a clock of their own, which
// goes on when nothing else does, so that minutes of silence take none. One goroutine decides,
// and draws all it decides from the seed, a generator per step. It starts commands one after the
// other, each when the one before is in the array's hands or through. So a seed repeats its run,
// to the outcome of each command and the nanosecond at which it ends (TestReplay), and its failure
// if it fails (TestFailure):
//
//	VVSIM_SIM_SEED=1234 go test -run TestSeeds -v ./test/sim
//
// # Order
//
// Of two things at one instant none comes first: which one does is the scheduler's to decide,
// and differs from play to play. So there are no two. Steps and commands begin on a grid, each
// at a time of its own; each path has delays of its own (network.DialOver); the times of a host
// are neither multiples nor sums of each other; and what waits in a host for the same event goes
// on one after the other (host.Options.Apart). Whoever adds something that acts by itself, or
// wakes several at once, gives each its own time, too.
//
// # What it was seen to find
//
// A write that is acknowledged and not done; in the recovery of the engine after a death, writes
// left out (27 runs of 40) and zeros left out (2 of 40); a host whose probes never came to an end,
// and one that sent a refused command again without a pause.
//
// # Death
//
// A death copies the data directory at an instant in which nothing runs, resets all
// connections, and goes on with the copy; what the old array does afterwards nobody sees. So
// commands die while faults hold them before the engine, or behind it with the answer lost, and
// never in the middle of the engine's work: there TestKill of the engine and test/e2e kill.
//
// # What faults are left out
//
// Those that lie (corrupt, torn): no oracle can say what is right then. TestAnyFaults of
// test/scenario has them.
package sim
