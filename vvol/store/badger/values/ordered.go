//go:build !race

package values

// ordered has nobody write rows while Badger rewrites a file; see ordered_race.go.
const ordered = false
