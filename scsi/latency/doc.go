// Package latency counts how long commands took, in a fixed number of buckets, so
// that a volume or a session costs the same however long it lives.
package latency
