// Command gotgt serves one vvsim volume through gotgt's iSCSI target: another
// front end over the same store.Object, so that the two can be compared on one
// volume (speed, conformance) by anyone. The volume is LUN 0 of target
// iqn.2026-11.dev.vvsim:gotgt.
//
//	gotgt --data vvsim-data --vvol rfc4122.2f6c… --port 3270
//	gotgt --data :memory: --size 1073741824 --port 3270
//
// vvsim itself must not run on the same directory meanwhile: an engine belongs to
// one process. gotgt listens on the port of every address of the machine and can
// check nobody's name or secret; run it where that does no harm.
//
// What gotgt cannot do for protocol endpoints is held by the tests of this command,
// which start it as a child, send PDUs and look at the bytes that return; one of
// them measures it beside vvsim on one volume. "make peer" runs them, docs/decisions
// tells what follows. The command is a module of its own, so that gotgt and what
// it needs stay out of vvsim's go.mod.
package main
