// Package scsi is the vocabulary every part of the data path speaks: logical
// unit numbers, operation codes, statuses, sense data, nexuses, tasks, and the
// two interfaces through which a transport reaches devices (LogicalUnit and
// Target).
//
// It owns no state, starts no goroutine and reads no clock. It does not know
// iSCSI, volumes or storage engines.
//
// # Life of a command
//
// A transport that received a command first calls Target.Prepare: the command
// is routed, enters the task set of its logical unit, and Prepare tells how
// many bytes of Data-Out the command wants. The transport fetches that data,
// then calls Target.Execute exactly once, also when the task was aborted in the
// meantime; Execute leaves the task set and returns the Response. At last the
// transport calls Task.Complete to learn whether the response may be sent.
//
// Terms and rules: SAM-5, SPC-4, SBC-3.
package scsi
