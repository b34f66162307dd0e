// Package conformance runs libiscsi's test suite, test by test, against a running
// array and compares the outcomes with expectations.txt.
package conformance
