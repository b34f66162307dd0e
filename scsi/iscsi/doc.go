// Package iscsi is the target side of RFC 7143 at ErrorRecoveryLevel 0 with one
// connection per session. It owns listeners' connections, login, sessions, the
// command window, data transfer and the task management of the transport; it
// knows devices only as a scsi.Target, and passes LUNs on untouched.
//
// # Goroutines
//
// Serve runs one accept loop per portal. Each connection has a reader, which
// parses every PDU that a read from the socket brought. Commands that the device
// expects to be prompt (scsi.Task) the reader executes itself, one after the
// other. Small writes that came in one read it keeps until it has seen all of them, and
// executes together (group.go), or leaves to one worker when they are to be on stable
// storage. The rest goes to workers: as many as have something to do, at most the
// command window. There is no writer goroutine: whoever finishes a response puts it
// into the outbox, and one of those at a time carries the outbox to the socket with
// as few system calls as it takes.
//
// A reader that is at one command, or at sending, for longer than work.Patience loses
// its tenure: another goroutine becomes the reader, so that nothing holds up more than
// itself, and the old one ends with what it was at. The server's watch sees to that.
// Shutdown waits for all of them. A reader that has sent its answers polls its socket
// for a moment (work.PollTime) before it sleeps, when its initiator is one that answers that
// fast.
//
// # Life of a command
//
// reader: window check, Target.Prepare, Data-Out by unsolicited data and R2T →
// reader or worker: Target.Execute or ExecuteAll, Task.Complete → outbox: Data-In and status. A command
// that was aborted takes the same way and sends nothing.
package iscsi
