// Package bad remembers which blocks of a medium can't be read, until they are written, and
// spoils blocks that are read or written wrongly.
package bad
