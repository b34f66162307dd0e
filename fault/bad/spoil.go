package bad

import "math/rand/v2"

// Spoil flips a bit of each block of p, the first of which has the number first. Which bit
// depends on the seed and the block's number alone, so that a block that is read again is
// broken in the same place.
func Spoil(p []byte, blockLength int, seed, first uint64) {
	for at := 0; at < len(p); at += blockLength {
		block := p[at:min(at+blockLength, len(p))]
		bit := rand.NewPCG(seed, first+uint64(at/blockLength)).Uint64() % uint64(8*len(block))
		block[bit/8] ^= 1 << (bit % 8)
	}
}
