// Package blocks reaches what a host has bound over iSCSI, as the host would: it finds the
// protocol endpoint by the name of its unit, and puts the secondary id behind its LUN
// (vasa.md 5). With it vasatest's exercise checks contents.
package blocks
