// Package vasa is the embedded VASA 2.0 provider: it answers vCenter's storage
// monitoring service and the hosts' vvold over SOAP and changes the array through
// vvol.Service alone. The types and envelopes are package wire's, keys and certificates
// package trust's, clients with their sessions and queues package session's, and the
// translation of storage profiles package policy's.
//
// # A request
//
// Handler finds the caller first (caller.go: the TLS client certificate, then the cookie):
// that decides how much and how long the body may be, and how many requests there may be at
// a time (admission.go, Limits). Then it reads and decodes the envelope and lets the
// request in (Limits). The operation's row (operations.go) says whether it needs a
// session and which method answers it; the Invoker between both is what faults and
// tracing wrap. Errors become faults in faults.go only: one that the operation does not
// declare becomes StorageFault (vasa.md 4.1). A panic does too, and the process lives.
// Every request is reported to Events.Called with an id that is also in the text of its
// fault; what a client sent that was not expected goes to the Trace.
//
// # Tasks
//
// Operations that VASA answers with a TaskInfo are finished when the answer is sent,
// but for copyDiffsToVirtualVolume, which goes on in a goroutine of the provider's
// that Close cancels and waits for. Tasks are rows of the catalog and survive a restart.
//
// # Events and alarms
//
// What clients are told of is read from the domain's events into the feed (feed.go), and
// from there into each client's queue when it polls. Alarms are states: each poll compares
// those that are not green with those that the client was told of. Their texts are in the
// message catalogs (catalog.go).
//
// # Concurrency
//
// A Provider is safe for concurrent use. It starts goroutines for copies only.
package vasa
