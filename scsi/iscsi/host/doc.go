// Package host is a host as ESXi is one, as far as public facts tell: it keeps a session to
// each portal of a target, finds the paths of a device by logging in, watches them, sends
// commands over one that works, and knows permanent device loss (PDL) from all paths down
// (APD). Rules carry how certain they are, as tags: [vmware-doc] VMware's documents, [host-settings]
// settings as hosts list them, [T10] a standard, [memory] domain knowledge without a public
// quote, [inferred] a conclusion. Times are Settings, on a clock that tests freeze and step.
//
// # Layers
//
//	Handle   who uses a device; keeps it from being removed
//	  │      a command waits for a path, goes over it, and again over another one
//	Device   one NAA designator; judged by the states of its paths
//	  │
//	Path     one LUN of one session; probed with TEST UNIT READY
//	  │
//	link     one portal: logs in, pings, logs in again
//
// A subsidiary logical unit has no paths of its own on an ESXi host: they are those of its
// protocol endpoint [inferred]. So its paths are probed at the endpoint, and what it says
// itself counts where it means a loss, of this unit alone. A volume that is silent while its
// endpoint answers is no APD: its commands time out.
//
// # States
//
//	path     active ◄──► standby, unavailable       as REPORT TARGET PORT GROUPS says [T10]
//	           │  ▲
//	           ▼  │ TEST UNIT READY is good again
//	         dead, or lost when a sense of permanent loss was the answer
//
//	device   on ◄──► degraded ──► permanent-loss ──► removed    when the last handle is closed
//	          ▲          │              ▲
//	          │          ▼              │ all paths lost
//	          └──────── apd ──► apd-timeout
//
// # Goroutines
//
// One for each link, one for each probe that runs, one for each command given to
// Handle.Start. Close ends them and waits. Host.mu guards all state of devices, paths and
// links; nothing waits while it is held.
package host
