// Package xsd carries Go structs as XML Schema types: each struct describes a complex
// type once, in tags, and one encoder and one decoder work after that description. It
// knows nothing of VASA and does no I/O.
//
// A struct is a complex type with a sequence. Each field is an element:
//
//	UniqueIdentifier *string `vasa:"uniqueIdentifier,?~"`
//
// names the element and its cardinality: 1 exactly one, ? at most one, * any number, + one or
// more; ~ after it says nillable. Fields stand in the order of the contract. A struct that
// is embedded without a tag is the base type: its elements come first and stay in its own
// namespace, because an element belongs to the namespace of the type that declares it
// (elementFormDefault is qualified).
//
// What is mandatory is a value, what is optional a pointer, a list is a slice. An element
// that is absent and one with xsi:nil="true" both decode as nil. Go types of elements:
//
//	string kinds   xs:string (an enumeration is a string type of its own)
//	bool           xs:boolean
//	int32, int64   xs:int, xs:long
//	time.Time      xs:dateTime, in UTC; without a zone it is taken as UTC
//	[]byte         xs:base64Binary
//	a struct       a complex type of the schema
//	any            xs:anyType: see Raw
//	an interface   a complex type or one that extends it: the interface has a method
//	               Base that returns a pointer to the declared type
//
// A Schema is compiled once and then only read; any number of goroutines may use it. An
// Encoder and a Reader belong to one goroutine.
//
// # What the decoder refuses, and what it tolerates
//
// Refused always: what is not well-formed UTF-8 XML; document types, entities and
// processing instructions; what exceeds MaxBody, MaxDepth, MaxTag, MaxNodes or
// MaxBindings; mandatory elements that are missing or nil; repeated elements that may
// stand once; values that are no number, boolean or time; known types where the schema
// does not allow them; and an element of a known local name in a namespace that is not
// its own: to ignore it would be to do something else than what was asked.
//
// Tolerated, unless Options.Strict: unknown elements and attributes, elements out of
// order, text between elements, nil where the schema does not allow it but where absence
// is allowed, and unknown types. They are ignored and reported as findings. Errors and
// findings name elements and never hold their text, which may be a password.
package xsd
