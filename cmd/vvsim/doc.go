// Command vvsim is a software storage array for labs and CI, and the command line
// that talks to one. One file per noun; serve.go runs an array, everything else
// talks to its API (client.go) or, for io, to its portals.
package main
