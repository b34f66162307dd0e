// Package prefetch asks the processor to bring memory into its caches, so that who
// copies it a microsecond later does not wait for it.
package prefetch

// Line is the length of a cache line of the processors that Lines is written for, in bytes.
const Line = 64
