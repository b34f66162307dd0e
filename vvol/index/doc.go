// Package index leads from a property of things to those that have it, in memory: an Of is
// a map of sets that holds no empty ones. Pure logic, no clock, no I/O; nothing in it is
// safe for concurrent use.
package index
