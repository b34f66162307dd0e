// Package watch uses a device as a file system does, and tells what its host sees, for
// `vvsim io watch`.
package watch
