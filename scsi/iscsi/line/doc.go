// Package line is what the bytes of one connection pass between its socket and its PDUs.
// A Line is undisturbed until somebody gives it Ways: then bytes that have come, and bytes
// that are to go, wait until their Way lets them on, in their order. Nothing is lost
// meanwhile: what waits goes on when the Way is taken away, and a peer that hangs up while
// its bytes stand still takes them with it. An undisturbed Line costs an atomic load for each
// read and each write.
//
//	socket ──► Reader ──► PDUs ──► … ──► PDUs ──► Queue ──► socket
//	             │ Way in                           │ Way out
package line
