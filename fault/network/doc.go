// Package network does to connections what networks do: portals that refuse, and ways of
// package line that stand still, are late or carry little. It knows of no rules.
package network
