// Package lint holds the house rules that a compiler does not know, as data and
// as checks that its test runs over the tree: who may import whom (imports.go),
// which calls and names are banned, how long functions, files and packages may
// be, which package-level state may exist (rules.go).
//
// A check is a pure function from parsed packages to findings; each is tested on
// a small offender as well, so that none is silently blind. The package is for
// tests alone: nothing imports it, and it imports nothing of ours.
package lint
