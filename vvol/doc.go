// Package vvol is the domain: storage containers, virtual volumes, hosts,
// bindings, tasks and events, kept as rows of a catalog in the engine's Meta
// space, and the Service through which the control plane changes them.
//
// It knows engines only through package store and protocol endpoints only
// through Endpoints. It does not log, know SCSI or speak any protocol.
//
// Order of calls: Open, EnsureDefaults, Start, anything, Close; Tend from time to time,
// which finds alarms and forgets what is too old. Start and
// UnbindHost run goroutines and wait for them; nothing else does, and Subscribe
// leaves none behind.
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
//	                                         Converting: from thin to thick or back; what the
//	                                         engine says of its pool decides at start
//
//	Prepared: a snapshot that has an id and limits checked but no content yet
//	          (VASA prepareToSnapshot); taking it makes it Creating, and undoing
//	          that makes it Prepared again; too old, it is forgotten.
//
// An operation that the engine refuses takes its intent back at once: a birth is
// undone, the others return to Ready with the size that the engine tells. When
// even that fails, the row keeps its intent and the next operation on the volume
// tries again. What was acknowledged to a caller has its final row on stable storage.
//
// A binding has no state: its row is there or not. Attach comes after the commit
// that adds it, Detach before the commit that removes it. Whether a route exists
// is memory of the process, not a row: Start makes all of them anew.
//
// A task is queued, running, success or error; a task that was running at a
// crash belongs to an intent and ends with it, or with an error when it has none.
//
// # Rows
//
// Keys of Meta, each behind "vvol/"; ids are their 16 bytes, numbers 8 bytes
// big-endian. Values are JSON but for reservations. Format version 1.
//
//	f              version of the format, array id
//	n              counters: last binding id, volume serial, task and event number
//	c/ID           StorageContainer
//	p/ID           pool of a thick volume: its container
//	v/ID           VirtualVolume, its pool, generation, intent and what its policy asked;
//	               rows from before there was a quality get one at Open
//	h/NAME         Host
//	b/NUMBER       Binding
//	l/NUMBER       LUNMapping
//	r/TEXT         reservation state of a volume or protocol endpoint (opaque)
//	t/NUMBER       Task: all that run, and those that ended not long ago (Options.TaskTime)
//	e/SERIAL       Event: the last Options.EventsKept
//
// # Hosts
//
// An initiator that logs in or is bound is a host of its own until a host declares, under
// its GUID, that it has that initiator: then its row becomes part of the declared one, with
// bindings that keep their handles (DeclareHost).
//
// # Concurrency
//
// Each volume has a lock, held for a whole operation on it, its engine and
// endpoint calls included; operations that name several volumes take them in
// order of id, and a host's or container's lock only after volumes. The
// catalog's lock is held for memory work only. Rows that wait at the same time
// are committed together; memory changes after the commit, in its order, so a
// query sees only what is on stable storage and never waits for a disk. Numbers
// and names that an operation is about to use are claimed in memory before its commit.
//
// # Space
//
// Thin volumes draw on their container's pool, which is limited to the
// container's size less what thick volumes reserve; see type capacity. Thin
// sizes may add up to more than the container.
//
// # Quality
//
// A volume has a quality of service within the bounds of a service level (package
// policy), written down in its row when it is given. The data path enforces its limits
// and durability (Endpoints.SetQuality), the pools its space. Compliance measures all of it.
package vvol
