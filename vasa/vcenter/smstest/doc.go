// Package smstest plays a vCenter with a storage monitoring service (SMS), for tests: vcsim
// with objects of our own at /sms/sdk. It registers providers as vasa.md 8.1 says vCenter
// does, over TLS and SOAP with the provider itself, keeps them, and refuses with the
// faults that the SMS API declares. What it does beyond the documented is a guess, said
// where it is made.
//
// The objects have the names and methods that vcsim finds by reflection. Their state has
// a lock of its own, as tasks run beside the calls.
package smstest
