package sum

import "hash/crc32"

// PageSize is the size of a page, in bytes.
const PageSize = 4096

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Of is the checksum of a page, or of any other bytes.
func Of(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// Join is the checksum of what has one, and of a page that follows it: crc32.Update of the
// first by the page. A CRC is linear: a page behind it takes the first one to a value that depends on
// its own bits alone, and adds its own.
func Join(sum, page uint32) uint32 {
	return passed[0][byte(sum)] ^ passed[1][byte(sum>>8)] ^ passed[2][byte(sum>>16)] ^ passed[3][byte(sum>>24)] ^ page
}

// passed is what a page of zeros makes of the bytes of a checksum, without the inversions
// before and after it.
var passed = passPage()

func passPage() (all [4][256]uint32) {
	var zeros [PageSize]byte
	for i := range all {
		for n := 1; n < 256; n++ {
			if rest := n & (n - 1); rest != 0 {
				all[i][n] = all[i][rest] ^ all[i][n&-n]
			} else {
				all[i][n] = ^crc32.Update(^(uint32(n) << (8 * i)), castagnoli, zeros[:])
			}
		}
	}
	return all
}
