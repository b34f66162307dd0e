// Package conformance runs libiscsi's test suite, test by test, against a running
// array and compares the outcomes with expectations.txt; and once more against an array on which
// random rules of failures came and went under load.
package conformance
