// Package sum has the checksums of pages of 4 KiB, CRC32C, and puts that of several together
// out of those of each, so that a page is gone through once: the journal's groups and the
// entries of records have checksums of the same pages.
package sum
