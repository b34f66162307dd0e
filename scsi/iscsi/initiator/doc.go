// Package initiator is the initiator side of RFC 7143 for tests, `vvsim io` and
// the host lab. It carries LUNs of eight bytes untouched, keeps many commands in
// flight on one session, and shows everything that goes over the wire to whoever
// asks (Options.Trace), so that a target can be judged by what it really sent.
//
// It speaks ErrorRecoveryLevel 0 with one connection per session: whatever is
// against the protocol ends the session with ErrProtocol, and every command in
// flight ends with that error. It does not reconnect, does not follow redirects
// and knows one path only; multipath belongs above, over several Sessions, which
// is why a Unit asks for a Path and not for a Session.
//
// # Layers
//
// Conn frames PDUs on a byte stream and nothing more: with it a test sends what
// it likes, right or wrong. Dial logs in over a Conn and returns a Session.
// Session.Execute runs one command and waits; Session.Start and Call are the same
// without waiting. Unit has typed commands of a logical unit. Load keeps a
// logical unit busy and measures.
//
// # Goroutines
//
// Dial starts up to three goroutines per Session: the receiver, which owns what
// comes in and calls every callback; the sender, which batches what goes out; and
// the pinger, when NOPInterval is set. A logout that the target asked for has one
// more. All end when the session fails or is closed; Close waits for them.
package initiator
