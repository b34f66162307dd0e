// Package pe joins SCSI and volumes: it is the scsi.Target behind all portals.
// It owns the administrative logical units (protocol endpoints), one logical unit
// per attached volume, the routes that lead (initiator, LUN) to them, and the
// translation of engine errors into sense data.
//
// A volume has one logical unit however it is reached: as subsidiary LU of a
// protocol endpoint by the hosts it is bound to, or under a flat LUN alias by
// all. Reservations and unit attentions therefore belong to the volume.
//
// Routes are a cache of the catalog (design.md, statement 1). Package vvol adds
// and removes them through the vvol.Endpoints interface; commands look them up
// without locks. A change of one route touches no other.
//
// Limits and durability of a volume belong to its logical unit too. Commands that move
// data wait for their turn in the task set (throttle, limiter), where they can be aborted;
// what is beyond the limits comes later and never fails.
//
// The package starts no goroutine, and does not know iSCSI, VASA, or how engines
// work. Limits of devices are in package device; as many commands wait for their turn
// as a task set holds.
package pe
