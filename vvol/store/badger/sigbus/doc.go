// Package sigbus lets pages of mapped files find room on a full file system. A page of a
// sparse file gets its block when it is first written to; when there is none left the kernel
// sends SIGBUS, which ends a Go program, whoever's code it was. Room is a file that holds
// blocks for that moment: the handler of the signal gives them up and has the write go again.
//
// The handler is assembly and calls nothing but the kernel, as a thread may stand anywhere
// when it faults. What it cannot help goes on to Go's own handler. On processors for which
// there is none, Room is never spent.
package sigbus
