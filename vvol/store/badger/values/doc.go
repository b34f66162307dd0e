// Package values looks after Badger's value log: it has files that are mostly dead given
// back, and large pages used for the file that is written to. It reads values, so that damage in
// a file harms nobody but who reads it (value.go).
//
// Collection and large pages go through Badger's own interfaces, and through the mapping in which
// Badger shows values; rows are read from the files, and where values lie and what Badger keeps
// locked is found by reflection. The first checksum of a file of which nothing lives any more is made wrong besides, so
// that Badger deletes it without reading it (empty.go). Keys that it needs start with the byte
// that its user gives it.
package values
