// Package tally counts what runs, for those who wait until nothing does.
package tally
