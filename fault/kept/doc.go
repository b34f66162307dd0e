// Package kept has the fault rules that survive a restart in the engine's Meta, a row each.
package kept
