//go:build race

package values

// ordered has nobody write rows while Badger rewrites a file. Badger v4.9.6 reads there the
// highest version of the memory table (MaxVersion) beside its writer, which raises it. What
// it reads may be a version too old, which keeps more deletions than needed and loses
// nothing, so that a build without the race detector need not hold writes for the time of
// a rewrite; with it, no test could tell this race from one of ours.
const ordered = true
