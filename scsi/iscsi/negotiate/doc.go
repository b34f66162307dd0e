// Package negotiate holds the operational keys of a login as a table (RFC 7143
// 13): for each how an offer becomes a result; and the form of iSCSI names. It is
// pure: no I/O, no state.
package negotiate
