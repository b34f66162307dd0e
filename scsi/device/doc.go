// Package device is the device server: it executes SPC-4 and SBC-3 commands for
// one logical unit, over a Medium that somebody else keeps.
//
// One row of the command table (table.go) holds everything known about an
// operation code: CDB length, usage mask, kinds of logical units that have it,
// Data-Out length, reservation class, and handler. Dispatch, the check of
// reserved bits, reservation conflicts and REPORT SUPPORTED OPERATION CODES all
// come from it.
//
// A command passes: task set and ordering → unit attention → access state of its
// target port → reservation conflict → SANITIZE → usage mask → handler (SAM-5 5.3.3
// for the precedence). The package reads no clock, does not log, and starts no
// goroutine but the one of a SANITIZE, which outlives its command; Remove and Close
// wait for it.
package device
