// Package complaints hears what Badger has to say: it passes complaints on to the operator,
// no warning again and again, and closes a database that may do nothing but complain.
package complaints
