package fault

import "math/rand/v2"

// spoil flips a bit of each block of p, or the one byte that the rule names. Which bit
// depends on the rule's seed and the block's number alone, so that a block that is read
// again is broken in the same place.
func (r *Rule) spoil(p []byte, first uint64) {
	if r.action.one {
		if r.action.n < len(p) {
			p[r.action.n] ^= 1
		}
		return
	}
	for at := 0; at < len(p); at += blockLength {
		block := p[at:min(at+blockLength, len(p))]
		bit := rand.NewPCG(r.seed, first+uint64(at/blockLength)).Uint64() % uint64(8*len(block))
		block[bit/8] ^= 1 << (bit % 8)
	}
}
