package oracle

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// SectorSize is a logical block of the array's volumes.
const SectorSize = 512

// A cell tells what a sector holds: 0 is zeros, else the image that was written and a
// generation that only this write has. It is what the first bytes of the sector say.
//
//	bit 63      the same sector all over the write (WRITE SAME): it names no LBA
//	bits 40-62  number of the image
//	bits 0-39   generation
type cell uint64

const (
	repeated       cell = 1 << 63
	generationBits      = 40
	generationMask      = 1<<generationBits - 1
	noLBA               = 1<<64 - 1
)

func newCell(image uint32, generation uint64) cell {
	return cell(uint64(image)<<generationBits | generation&generationMask)
}

// Places in a sector that is not zero.
const (
	atCell     = 0
	atLBA      = 8
	atChecksum = 16 // CRC-32C of all but itself
	atStream   = 24
)

func checksum(p []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Update(0, table, p[:atChecksum]), table, p[atChecksum+4:SectorSize])
}

// stamp makes p, one sector long, what the cell says at lba.
func (c cell) stamp(p []byte, lba uint64) {
	clear(p)
	if c == 0 {
		return
	}
	if c&repeated != 0 {
		lba = noLBA
	}
	binary.LittleEndian.PutUint64(p[atCell:], uint64(c))
	binary.LittleEndian.PutUint64(p[atLBA:], lba)
	x := uint64(c)*0x9e3779b97f4a7c15 ^ lba
	for i := atStream; i < SectorSize; i += 8 {
		x += 0x9e3779b97f4a7c15 // SplitMix64
		z := (x ^ x>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		binary.LittleEndian.PutUint64(p[i:], z^z>>31)
	}
	binary.LittleEndian.PutUint32(p[atChecksum:], checksum(p))
}

// found reads what a sector says that it holds, in its first bytes.
func found(p []byte) cell { return cell(binary.LittleEndian.Uint64(p[atCell:])) }

// describe tells what a sector holds, by its own account.
func describe(p []byte) string {
	c := found(p)
	zero := true
	for _, b := range p[:SectorSize] {
		zero = zero && b == 0
	}
	switch {
	case zero:
		return "zeros"
	case checksum(p) != binary.LittleEndian.Uint32(p[atChecksum:]):
		return fmt.Sprintf("bytes whose checksum does not hold, which begin %x", p[:32])
	case c&repeated != 0:
		return c.String()
	}
	return fmt.Sprintf("%v LBA %d", c, binary.LittleEndian.Uint64(p[atLBA:]))
}

// String names what the cell holds.
func (c cell) String() string {
	if c == 0 {
		return "zeros"
	}
	return fmt.Sprintf("image %d generation %d", uint64(c&^repeated)>>generationBits, uint64(c)&generationMask)
}
