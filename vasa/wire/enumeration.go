package wire

import "slices"

// Enumeration is a string type with a list of values.
type Enumeration[E any] interface {
	~string
	Values() []E
}

// Valid tells whether e is one of the values of its enumeration.
func Valid[E interface {
	comparable
	Enumeration[E]
}](e E) bool {
	return slices.Contains(e.Values(), e)
}
