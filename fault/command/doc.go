// Package command sorts SCSI commands by what they do to the blocks of a logical unit, and
// by the states in which a device server answers them, from their CDB alone. Rules of
// package fault choose commands by it.
package command
