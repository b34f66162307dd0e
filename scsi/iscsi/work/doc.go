// Package work says who does the work of one connection: the workers that take its
// jobs in order, the goroutine that has the right to receive and gives it away when
// it is held up, how that one waits for bytes, and the budget of bytes that all of them together may hold.
package work
