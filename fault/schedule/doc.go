// Package schedule tells when a fault rule is in force. Pure logic: it has no clock.
package schedule
