// Package session keeps the clients of a VASA provider: who they are, their sessions,
// and the queues of events and alarms that outlive a session (vasa.md 1.4, 1.6).
//
// A client is a host, known by its hostGuid, or a vCenter, known by its vcGuid. It may
// have several sessions; each belongs to the certificate that it was opened with, so
// that a cookie is worth nothing to another client. Sessions end by time-out, by
// setContext over them, with the certificate, or when the certificate opens more than it
// may have: one client that forgets its sessions does not lock others out; clients stay until Options.Clients of
// others were seen since. Nothing is kept over a restart: clients get InvalidSession,
// set their context again and start their queues over.
//
// The package starts no goroutine: sessions that have timed out go when somebody looks.
// All methods are safe for concurrent use.
package session
