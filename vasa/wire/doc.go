// Package wire is the VASA 2.0 contract: its types as Go structs, its operations as a table,
// and SOAP envelopes around them. It has no behaviour beyond that: it does no I/O and keeps no
// state.
//
// Types have the names of the contract; enumerations lose the suffix Enum, and a few have
// a clearer name. What is mandatory is a value, what is optional or may be nil a pointer, a list
// a slice; base types are embedded. Where the contract allows a type or what extends it, the
// field is an interface such as AnyEvent; where it allows anything, the field is of type any
// and holds a string, bool, int32, int64, float64, time.Time, []byte, a pointer to a struct of
// the contract (a Fault among them), or a Raw. Package vasa/wire/xsd says how they travel, what is
// refused and what is tolerated.
//
// An enumeration is a plain string in the schema: the decoder takes any text, Valid tells whether
// it is one of the values.
//
// A provider calls DecodeRequest, then EncodeResponse or EncodeFault in the version of the
// request. A client calls EncodeRequest and DecodeResponse, whose error is a *SOAPFault
// if the provider answered with one.
package wire
