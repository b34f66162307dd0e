// Package turn has those who waited for one event, such as the end of a rule that held them, go
// on in the order in which they came, and not all at one instant.
package turn
