// Package loads is what the speed of an array is judged by: the loads of docs/performance.md,
// for the benchmarks that put them on one in their own process and on programs.
package loads
