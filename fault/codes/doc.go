// Package codes is the table of what a storage host sees when something is wrong: sense
// data, SCSI status, the host and plug-in status of an ESXi log line, iSCSI login status,
// reasons of Reject and events of Asynchronous Message, and VASA faults. Each entry says what the code means, what ESXi is known to do and how
// certain that is, and which fault rule produces it.
//
// `vvsim explain` reads codes as they are pasted (Explain), docs/sense.md is the table in
// Markdown (Document), and test/scenario puts each rule on an array and compares what an
// initiator gets with the entry.
package codes
