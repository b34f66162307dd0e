// Package files knows the files that Badger keeps in its directory, by their names:
// value logs (*.vlog), logs of memory tables (*.mem) and the rest. It puts them on
// stable storage, allocates ahead what is about to be written, tells their sizes and
// removes what a crash left unborn. It reads and changes nothing inside of them.
//
// It starts no goroutine.
package files
