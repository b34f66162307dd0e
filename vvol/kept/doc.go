// Package kept holds what is numbered and kept for a while: a Ring in order of the
// numbers, and the order in which things Ended, which says what goes next. Pure logic, no
// clock, no I/O; nothing in it is safe for concurrent use.
package kept
