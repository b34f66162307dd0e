// Package alarm keeps which things are in alarm, and says when that changes: pure logic,
// no clock, no I/O. A value near a threshold does not make its alarm flap: it comes at the
// threshold and goes Hysteresis below it.
package alarm
