// Package e2e is vvsim as a user has it, the built program: a real file system goes
// through a real client and back.
package e2e
