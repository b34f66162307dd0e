// Package rows holds rows between the journal, which has them when a change is answered,
// and Badger, which gets them later.
package rows
