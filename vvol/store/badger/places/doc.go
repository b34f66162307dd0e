// Package places remembers where records lie in Badger and which of their blocks have
// been verified.
package places
