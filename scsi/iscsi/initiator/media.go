package initiator

import (
	"context"
	"encoding/binary"
	"fmt"

	"vvsim/scsi"
	"vvsim/scsi/cdb"
)

// Geometry is what a unit says of its blocks: READ CAPACITY(16) and the Block
// Limits page (SBC-3 5.16, 6.6.4). Limits are in logical blocks; 0 is no limit
// named.
type Geometry struct {
	Blocks          uint64
	BlockSize       int
	PhysicalShift   uint8 // logical blocks per physical block, as a power of two
	Thin            bool  // LBPME
	ReadsZero       bool  // LBPRZ
	MaxTransfer     uint32
	OptimalTransfer uint32
	MaxCompareWrite uint8
	MaxUnmap        uint32
	MaxUnmapRanges  uint32
	UnmapAlignment  uint32 // optimal unmap granularity
	MaxWriteSame    uint64
	MaxAtomicWrite  uint32
}

// Size is the capacity in bytes.
func (g *Geometry) Size() int64 { return int64(g.Blocks) * int64(g.BlockSize) }

// ReadCapacity asks the unit for its geometry and keeps it for ReadAt and WriteAt.
// A unit without a Block Limits page has no limits.
func (u *Unit) ReadCapacity(ctx context.Context) (Geometry, error) {
	b, err := u.ParameterIn(ctx, cdb.Parameter{Op: scsi.OpServiceActionIn16, Byte1: scsi.SAReadCapacity16, Length: 32})
	if err != nil {
		return Geometry{}, err
	}
	if len(b) < 16 {
		return Geometry{}, fmt.Errorf("%w: %d bytes of capacity", ErrData, len(b))
	}
	g := Geometry{Blocks: binary.BigEndian.Uint64(b) + 1, BlockSize: int(binary.BigEndian.Uint32(b[8:])), PhysicalShift: b[13] & 0xf,
		Thin: b[14]&0x80 != 0, ReadsZero: b[14]&0x40 != 0}
	if g.BlockSize < 1 || g.BlockSize > maxBlockSize || g.Blocks == 0 || g.Blocks > 1<<63/uint64(g.BlockSize)-1 {
		return Geometry{}, fmt.Errorf("%w: %d blocks of %d bytes", ErrData, g.Blocks, g.BlockSize)
	}
	if err := u.blockLimits(ctx, &g); err != nil {
		return Geometry{}, err
	}
	u.mu.Lock()
	u.geometry = &g
	u.mu.Unlock()
	return g, nil
}

func (u *Unit) blockLimits(ctx context.Context, g *Geometry) error {
	page, err := u.VPD(ctx, 0xb0)
	if unsupported(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var b [64]byte // what a short page leaves out is zero: no limit
	copy(b[:], page)
	g.MaxCompareWrite = b[5]
	g.MaxTransfer = binary.BigEndian.Uint32(b[8:])
	g.OptimalTransfer = binary.BigEndian.Uint32(b[12:])
	g.MaxUnmap = binary.BigEndian.Uint32(b[20:])
	g.MaxUnmapRanges = binary.BigEndian.Uint32(b[24:])
	g.UnmapAlignment = binary.BigEndian.Uint32(b[28:])
	g.MaxWriteSame = binary.BigEndian.Uint64(b[36:])
	g.MaxAtomicWrite = binary.BigEndian.Uint32(b[44:])
	return nil
}

// Geometry returns what ReadCapacity found last, asking when it never did.
func (u *Unit) Geometry(ctx context.Context) (Geometry, error) {
	u.mu.Lock()
	g := u.geometry
	u.mu.Unlock()
	if g != nil {
		return *g, nil
	}
	return u.ReadCapacity(ctx)
}

// step is the number of blocks of one command of ReadAt and WriteAt.
func (g *Geometry) step() int {
	n := max(1, defaultTransfer/g.BlockSize)
	if g.MaxTransfer > 0 {
		n = int(min(uint32(n), g.MaxTransfer))
	}
	return n
}

// transfer splits [off, off+len(p)) into commands and runs them one after the
// other. It returns the number of bytes that are through.
func (u *Unit) transfer(ctx context.Context, p []byte, off int64, one func(lba uint64, p []byte, blocks uint32) error) (int, error) {
	g, err := u.Geometry(ctx)
	if err != nil {
		return 0, err
	}
	size := int64(g.BlockSize)
	if off < 0 || off%size != 0 || int64(len(p))%size != 0 {
		return 0, fmt.Errorf("%w: %d bytes at %d, blocks have %d", ErrUnaligned, len(p), off, size)
	}
	step := g.step() * g.BlockSize
	done := 0
	for done < len(p) {
		n := min(step, len(p)-done)
		if err := one(uint64(off+int64(done))/uint64(size), p[done:done+n:done+n], uint32(n/g.BlockSize)); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// ReadAt reads len(p) bytes at off, both multiples of the logical block, with as
// many READ(16) as the unit's limits ask for.
func (u *Unit) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	return u.transfer(ctx, p, off, func(lba uint64, p []byte, blocks uint32) error {
		return u.block(ctx, cdb.Block{Op: scsi.OpRead16, LBA: lba, Blocks: blocks}, nil, p)
	})
}

// WriteAt writes p at off, both multiples of the logical block, with as many
// WRITE(16) as the unit's limits ask for. fua has each of them on stable storage
// before its status.
func (u *Unit) WriteAt(ctx context.Context, p []byte, off int64, fua bool) (int, error) {
	flags := uint8(0)
	if fua {
		flags = cdb.FUA
	}
	return u.transfer(ctx, p, off, func(lba uint64, p []byte, blocks uint32) error {
		return u.block(ctx, cdb.Block{Op: scsi.OpWrite16, Flags: flags, LBA: lba, Blocks: blocks}, p, nil)
	})
}

// SynchronizeCache is SYNCHRONIZE CACHE(16); 0 blocks are all from lba on.
func (u *Unit) SynchronizeCache(ctx context.Context, lba uint64, blocks uint32) error {
	return u.block(ctx, cdb.Block{Op: scsi.OpSynchronizeCache16, LBA: lba, Blocks: blocks}, nil, nil)
}

// Extent is a range of logical blocks.
type Extent struct {
	LBA    uint64
	Blocks uint32
}

// Unmap is one UNMAP (SBC-3 5.28); it does not split by the unit's limits.
func (u *Unit) Unmap(ctx context.Context, extents ...Extent) error {
	if len(extents) > maxUnmapRanges {
		return invalid("%d ranges to unmap", len(extents))
	}
	n := 16 * len(extents)
	list := make([]byte, 8, 8+n)
	binary.BigEndian.PutUint16(list, uint16(6+n))
	binary.BigEndian.PutUint16(list[2:], uint16(n))
	for _, e := range extents {
		list = binary.BigEndian.AppendUint64(list, e.LBA)
		list = binary.BigEndian.AppendUint32(list, e.Blocks)
		list = append(list, 0, 0, 0, 0)
	}
	return u.ParameterOut(ctx, cdb.Parameter{Op: scsi.OpUnmap}, list)
}

// WriteSame is WRITE SAME(16): block, one logical block long, goes everywhere in
// the range. A nil block sends none and writes zeros (NDOB). unmap allows the unit
// to deallocate instead.
func (u *Unit) WriteSame(ctx context.Context, lba uint64, blocks uint32, block []byte, unmap bool) error {
	c := cdb.Block{Op: scsi.OpWriteSame16, LBA: lba, Blocks: blocks}
	if unmap {
		c.Flags |= cdb.Unmap
	}
	if block == nil {
		c.Flags |= cdb.NDOB
	}
	return u.block(ctx, c, block, nil)
}

// CompareAndWrite is COMPARE AND WRITE (SBC-3 5.2): it writes write where compare
// is; both have the same length, up to 255 blocks. A miscompare is a
// *CheckConditionError with MISCOMPARE and the offset in Info.
func (u *Unit) CompareAndWrite(ctx context.Context, lba uint64, compare, write []byte) error {
	g, err := u.Geometry(ctx)
	if err != nil {
		return err
	}
	blocks := len(compare) / g.BlockSize
	if len(compare) != len(write) || len(compare)%g.BlockSize != 0 || blocks == 0 || blocks > 255 {
		return invalid("%d bytes to compare, %d to write", len(compare), len(write))
	}
	out := append(append(make([]byte, 0, 2*len(compare)), compare...), write...)
	return u.block(ctx, cdb.Block{Op: scsi.OpCompareAndWrite, LBA: lba, Blocks: uint32(blocks)}, out, nil)
}

// LBAStatus is the provisioning state of an extent (SBC-3 5.6.2).
type LBAStatus struct {
	Extent
	State uint8 // 0 mapped, 1 deallocated, 2 anchored
}

// GetLBAStatus is GET LBA STATUS: some extents from lba on.
func (u *Unit) GetLBAStatus(ctx context.Context, lba uint64) (list []LBAStatus, err error) {
	c := cdb.Block{Op: scsi.OpServiceActionIn16, Service: scsi.SAGetLBAStatus, LBA: lba, Blocks: firstAllocation}
	r, err := u.Execute(ctx, c.AppendTo(nil), nil, firstAllocation)
	if err != nil {
		return nil, err
	}
	b := r.DataIn
	if len(b) < 8 {
		return nil, fmt.Errorf("%w: %d bytes of LBA status", ErrData, len(b))
	}
	end := min(len(b), 4+int(min(binary.BigEndian.Uint32(b), firstAllocation)))
	for b = b[8:max(8, end)]; len(b) >= 16; b = b[16:] {
		list = append(list, LBAStatus{Extent{binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:])}, b[12] & 0xf})
	}
	return list, nil
}

// Reset is LOGICAL UNIT RESET of the unit. Commands of this session on it end
// with ErrAborted.
func (s *Session) Reset(ctx context.Context, lun scsi.LUN) error {
	r, err := s.TaskManagement(ctx, scsi.LogicalUnitReset, lun, 0)
	if err == nil && r != scsi.FunctionComplete {
		return fmt.Errorf("reset of LUN %v: response %d", lun, r)
	}
	return err
}
