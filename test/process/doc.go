// Package process runs vvsim as users do: the built program as a child process,
// with an array of its own on free ports, and its command line.
//
// Whatever a test does, children end: each is killed when its test ends or when
// the test binary itself dies, and each wait has a limit.
package process
