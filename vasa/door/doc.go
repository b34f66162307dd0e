// Package door bounds what peers of the provider hold before anybody knows who they are:
// connections (Listener), and whatever else is counted by its holder (Quota). It knows
// nothing of VASA.
//
// A Listener that is full makes room by closing the connection on which nothing has been
// asked for the longest time, so that idle and unfinished connections, however many, never
// lock out one that asks. A Quota keeps a part of it from any one holder.
//
// All methods are safe for concurrent use. The package starts no goroutine.
package door
