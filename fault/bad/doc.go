// Package bad remembers which blocks of a medium can't be read, until they are written.
package bad
