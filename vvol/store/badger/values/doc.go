// Package values looks after Badger's value log: it has files that are mostly dead given
// back, and large pages used for the file that is written to.
//
// Both go through Badger's own interfaces, and through the mapping in which Badger shows
// values; the first checksum of a file of which nothing lives any more is made wrong besides, so
// that Badger deletes it without reading it (empty.go). Keys that it needs start with the byte
// that its user gives it.
package values
