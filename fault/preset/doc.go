// Package preset names the failures that people ask for: each preset is a few fault rules,
// what an ESXi host is expected to log and do, how certain that is, and how it heals.
//
// `vvsim fault preset` adds them, docs/presets.md is the table in Markdown (Document), and
// test/scenario adds each to an array and sees what it says.
package preset
