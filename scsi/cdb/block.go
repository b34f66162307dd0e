package cdb

import (
	"encoding/binary"
	"fmt"

	"vvsim/scsi"
)

// Block is a command on a range of logical blocks: READ, WRITE, VERIFY, WRITE AND
// VERIFY, WRITE SAME, ORWRITE, PRE-FETCH, SYNCHRONIZE CACHE, COMPARE AND WRITE,
// WRITE ATOMIC and GET LBA STATUS in all their lengths (SBC-4 5).
type Block struct {
	Op      scsi.OpCode
	Service uint8 // service action, of SERVICE ACTION IN(16)
	Flags   uint8 // byte 1 without the LBA bits of six-byte CDBs or a service action
	LBA     uint64
	Blocks  uint32 // 256 for a six-byte CDB with 0; bytes of allocation length for GET LBA STATUS
	Group   uint8
}

// Bits of Flags.
const (
	FUA     = 0x08
	DPO     = 0x10
	ByteChk = 0x06 // two bits from bit 1, of VERIFY and WRITE AND VERIFY
	Unmap   = 0x08 // of WRITE SAME
	Anchor  = 0x10 // of WRITE SAME
	NDOB    = 0x01 // of WRITE SAME(16)
	Immed   = 0x02 // of SYNCHRONIZE CACHE and PRE-FETCH
)

// Parse reads a CDB of one of the commands above; b has the length that the
// operation code implies.
func (c *Block) Parse(b []byte) {
	*c = Block{Op: scsi.OpCode(b[0]), Flags: b[1]}
	switch c.Op.Length() {
	case 6:
		c.Flags = 0
		c.LBA = uint64(b[1]&0x1f)<<16 | uint64(b[2])<<8 | uint64(b[3])
		if c.Blocks = uint32(b[4]); c.Blocks == 0 {
			c.Blocks = 256 // SBC-3 5.7
		}
	case 10:
		c.LBA, c.Group = uint64(binary.BigEndian.Uint32(b[2:])), b[6]&0x1f
		c.Blocks = uint32(binary.BigEndian.Uint16(b[7:]))
	case 12:
		c.LBA, c.Group = uint64(binary.BigEndian.Uint32(b[2:])), b[10]&0x1f
		c.Blocks = binary.BigEndian.Uint32(b[6:])
	case 16:
		c.LBA, c.Group = binary.BigEndian.Uint64(b[2:]), b[14]&0x1f
		switch c.Op {
		case scsi.OpCompareAndWrite:
			c.Blocks = uint32(b[13])
		case scsi.OpWriteAtomic16:
			c.Blocks = uint32(binary.BigEndian.Uint16(b[12:]))
		case scsi.OpServiceActionIn16:
			c.Service, c.Flags = b[1]&0x1f, 0
			c.Blocks = binary.BigEndian.Uint32(b[10:])
		default:
			c.Blocks = binary.BigEndian.Uint32(b[10:])
		}
	}
}

// AppendTo appends the CDB in the length that the operation code implies. Values
// that do not fit their field are cut.
func (c *Block) AppendTo(b []byte) []byte {
	var d [16]byte
	n := c.Op.Length()
	d[0], d[1] = byte(c.Op), c.Flags|c.Service
	switch n {
	case 6:
		d[1], d[2], d[3], d[4] = byte(c.LBA>>16)&0x1f, byte(c.LBA>>8), byte(c.LBA), byte(c.Blocks)
	case 10:
		binary.BigEndian.PutUint32(d[2:], uint32(c.LBA))
		binary.BigEndian.PutUint16(d[7:], uint16(c.Blocks))
		d[6] = c.Group
	case 12:
		binary.BigEndian.PutUint32(d[2:], uint32(c.LBA))
		binary.BigEndian.PutUint32(d[6:], c.Blocks)
		d[10] = c.Group
	case 16:
		binary.BigEndian.PutUint64(d[2:], c.LBA)
		switch c.Op {
		case scsi.OpCompareAndWrite:
			d[13] = byte(c.Blocks)
		case scsi.OpWriteAtomic16:
			binary.BigEndian.PutUint16(d[12:], uint16(c.Blocks))
		default:
			binary.BigEndian.PutUint32(d[10:], c.Blocks)
		}
		d[14] = c.Group
	}
	return append(b, d[:n]...)
}

// String is for logs and test failures.
func (c *Block) String() string {
	return fmt.Sprintf("%v lba=%d blocks=%d flags=%02Xh", c.Op, c.LBA, c.Blocks, c.Flags)
}
