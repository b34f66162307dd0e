// Package inuse counts who uses what: calls on an open object, which its Close waits for,
// and readers of a view of Badger, which is let go when a newer one is there and the last
// reader has gone.
package inuse
