// Package vvol is the domain: storage containers, virtual volumes, hosts,
// bindings, tasks and events, kept as rows of a catalog in the engine's Meta
// space, and the Service through which the control plane changes them.
//
// It knows engines only through package store and protocol endpoints only
// through Endpoints. It does not log, know SCSI or speak any protocol.
//
// # States
//
// A virtual volume is a row with one of these states; everything that changes
// more than one place goes intent row → engine → final row, and Open finishes or
// undoes what a crash left between the two:
//
//	            create/clone/snapshot           delete
//	(absent) ──────► Creating ──────► Ready ──────────► Deleting ──────► (absent)
//	                    │               │  ▲
//	                    └──► (absent)   └──┘ Reverting, Resizing: the row names the target
//	                    undone at start      finished at start
//
//	Prepared: a snapshot that has an id and space but no content yet (VASA
//	          prepareToSnapshot); it becomes Ready by Snapshot or expires.
//
// A binding has no state: its row is there or not. Attach comes after the commit
// that adds it, Detach before the commit that removes it.
//
// A task is queued, running, success or error; a task that was running at a
// crash belongs to an intent and ends with it.
package vvol
