// Package mem is the reference engine: short, obviously right, and gone with the
// process. It is what other engines are compared with, and what `--data :memory:`
// runs on.
//
// A volume is the head of a chain of layers; a layer maps block numbers to
// blocks. Snapshots and clones freeze the head below new empty ones. A frozen
// layer that is left with one child and no volume is merged into that child, so
// that chains are as long as there are snapshots. One lock guards everything:
// reads share it, changes hold it alone. No goroutines.
package mem
