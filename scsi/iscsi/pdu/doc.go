// Package pdu is the wire format of RFC 7143: one struct per PDU with fields in
// wire order, digests, and text keys. It is pure: no I/O, no goroutine, no state.
//
// A PDU is a basic header segment of 48 bytes (BHS), additional header segments,
// an optional header digest, a data segment padded to four bytes, and an optional
// data digest. Header decodes the fields that all share; Decode gives the struct
// of a received BHS. Each struct appends its BHS with AppendTo; the data segment's
// length is a field of the header, its bytes travel separately, so that payload
// is never copied here.
package pdu
