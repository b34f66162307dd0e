// Package vasatest plays the clients of a VASA provider: a vCenter and hosts, each with
// a certificate of a certificate authority of its own, as VMCA issues them. It knows the
// wire and nothing of this provider, so that it tests others too.
//
// A Client calls, and nothing more. A Session keeps a session and waits; VCenter and Host
// have a method for each thing that theirs do. Run makes an exercise of them all: the life
// of a virtual machine, step by step, with the answers checked against each other.
//
// A Client is safe for concurrent use, as far as its session is: SetContext replaces it.
package vasatest
