// Package lock holds locks by name, which can be awaited with a context.
package lock
