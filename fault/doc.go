// Package fault breaks an array on demand. A Rule is one line of text that says where,
// when and how (docs/faults.md has the grammar); the Injector keeps the rules in order,
// and the first that matches an event wins. Target, Engine, Provider and Login are
// decorators of the four places where events pass: commands to logical units, calls of
// the storage engine, VASA operations and logins. Nothing but the assembly knows that
// they are there, and without a rule each costs an atomic load or two.
//
// A decision falls once for each event, when it arrives, and stays: a rule that comes
// later does not touch what runs, and one that goes lets go of what it held at once.
//
//	          Prepare                 Execute
//	command ──► first rule that fires ──► answer instead ─────────────► response
//	              │ none                  hold ──► rule gone ─► unit ──► response
//	              ▼                        │ aborted, session lost
//	            logical unit               ▼
//	                                      unit, which ends it as aborted
package fault
