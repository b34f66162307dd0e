// Package policy holds the rules by which a storage container offers qualities of
// service and a volume gets one: pure values, no state, no I/O.
//
// A container has service levels. The values of a level are bounds, and what a volume
// gets when nothing is asked:
//
//	MaxIOPS, MaxBytesPerSec  up to this much may be asked for; none: any limit, or none
//	SnapshotLimit            up to this many; none: any number, or as many as the array allows
//	Durability               Flush or Sync: this and no other; empty: either, Flush by default
//	Thin                     as it is: a level is thin or thick
//	WarnPercentUsed          up to this much of the container; none: any. The container warns at
//	                         the lowest of its levels and of the qualities of its volumes, so
//	                         that a volume that asks for nothing has what the levels say
//
// The quality of a volume is written down when it is given, and does not follow later
// changes of its level: whether the level still offers it is a matter of compliance.
package policy
