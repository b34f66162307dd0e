package pdu

import (
	"encoding/binary"
	"hash/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Digest is the CRC32C of the concatenated parts as it stands on the wire
// (RFC 7143 13.1: the CRC in little endian byte order). The data digest covers
// the padding bytes too.
func Digest(parts ...[]byte) [DigestLength]byte {
	var c uint32
	for _, p := range parts {
		c = crc32.Update(c, castagnoli, p)
	}
	var d [DigestLength]byte
	binary.LittleEndian.PutUint32(d[:], c)
	return d
}
