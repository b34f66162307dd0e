// Package trace keeps what the provider's clients sent that was not expected, or that the
// reference does not settle (vasa.md 13): what a first lab with a real vCenter teaches.
//
// # Bounds
//
// Each kind of entry has a bound of its own, so that what comes with every request (which
// operation follows which) never pushes out what came once (an element that nobody knows).
// Entries of strangers, whom anybody may be, are kept apart from those of clients with a
// trusted certificate, within a bound for each kind too. Where a bound is reached, the
// entry that was unseen for the longest time goes. Kinds are constants of the caller's:
// what a client sends must not name one.
//
// Entries are in memory alone; Options.New is told of new ones, for a log that outlives
// them.
//
// # Concurrency
//
// A Trace is safe for concurrent use and starts no goroutines.
package trace
