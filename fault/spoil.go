package fault

import "vvsim/fault/bad"

// spoil flips a bit of each block of p, or the one byte that the rule names.
func (r *Rule) spoil(p []byte, first uint64) {
	switch {
	case !r.action.one:
		bad.Spoil(p, blockLength, r.seed, first)
	case r.action.n < len(p):
		p[r.action.n] ^= 1
	}
}
