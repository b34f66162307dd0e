package device

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"vvsim/scsi"
)

// BlockLength is the length of a logical block in bytes (scsi.md 3.3: ESXi wants 512).
const BlockLength = 512

// Medium is the content of a logical unit. Offsets and lengths are bytes and
// multiples of BlockLength, in range unless the size changes meanwhile. Slices
// are borrowed for the call. Errors go through Config.Translate. Safe for
// concurrent use; CompareAndWrite is atomic against everything.
type Medium interface {
	Size() uint64
	ReadOnly() bool
	ReadAt(ctx context.Context, p []byte, off uint64) error
	WriteAt(ctx context.Context, p []byte, off uint64, fua bool) error
	// WriteAll performs several writes, in the order of the slice where they overlap;
	// each gets its own error.
	WriteAll(ctx context.Context, writes []Write, fua bool)
	CompareAndWrite(ctx context.Context, compare, data []byte, off uint64, fua bool) error
	Zero(ctx context.Context, off, n uint64, fua bool) error
	Unmap(ctx context.Context, off, n uint64) error
	Flush(ctx context.Context) error
	// Extents yields adjoining extents from off to off+max.
	Extents(ctx context.Context, off, max uint64) iter.Seq2[Extent, error]
	// CopyFrom copies n bytes from src, a Medium of the same array.
	CopyFrom(ctx context.Context, off uint64, src Medium, srcOff, n uint64) error
}

// Write is one write of Medium.WriteAll.
type Write struct {
	Data   []byte
	Offset uint64 // bytes
	Err    error  // set by WriteAll
}

// Extent is a byte range that is mapped or not (SBC-3 4.7).
type Extent struct {
	Offset, Length uint64
	Mapped         bool
}

// Kind of a logical unit.
type Kind uint8

const (
	// Volume is reached as an ordinary disk or as a subsidiary logical unit; which
	// one a command means is seen from its LUN.
	Volume Kind = 1 << iota
	// Administrative is the protocol endpoint of a conglomerate (scsi.md 1.7).
	Administrative
	// WellKnown is the REPORT LUNS well-known logical unit (SPC-4 6.33; scsi.md 1.5).
	WellKnown
)

const everyKind = Volume | Administrative | WellKnown

// Identity is what INQUIRY tells.
type Identity struct {
	NAA        [16]byte // designator of the logical unit, first nibble 6; zero for a WellKnown
	Serial     string   // at most 64 ASCII characters
	TargetName string   // iSCSI name, without ",t,0x"
}

// Vendor, product and revision are the same on every logical unit: ESXi does not
// copy between devices with different product ids (scsi.md 3.4).
const (
	Vendor   = "VVSIM"
	Product  = "VirtualVolume"
	Revision = "0001"
)

// Limits of a logical unit; the Block Limits page shows them. Bytes unless said.
type Limits struct {
	Granularity     int    // of allocation
	MaxTransfer     int    // of one read or write
	MaxCompareWrite int    // logical blocks of one COMPARE AND WRITE, up to 255
	AtomicWrite     int    // of one WRITE ATOMIC; 0 when there is none
	MaxUnmap        uint64 // of one UNMAP or WRITE SAME with UNMAP
	WriteThrough    bool   // every write is on stable storage: the write cache reads as disabled
}

// MaxTasks is how many tasks one task set holds; more get TASK SET FULL.
const MaxTasks = 4096

// Named limits of the device server.
const (
	maxUnmapDescriptors = 256
	maxWriteSame        = 16 << 20 // bytes of one WRITE SAME; ESXi sends 1 MiB, or up to 16 MiB when tuned
	maxAttentions       = 8        // pending unit attentions of one nexus
	maxRegistrations    = 1024     // persistent reservation keys
	maxParameterList    = 1 << 16  // bytes of Data-Out that are not blocks
	maxNexuses          = 1 << 16  // that one logical unit remembers
)

// PortGroup is a target port group with its only port (SPC-4 5.15).
type PortGroup struct {
	ID    uint16 // target port group and relative target port identifier
	State AccessState
}

// AccessState is an asymmetric access state (SPC-4 6.36).
type AccessState uint8

const (
	ActiveOptimized    AccessState = 0x0
	ActiveNonOptimized AccessState = 0x1
	Standby            AccessState = 0x2
	Unavailable        AccessState = 0x3
	Transitioning      AccessState = 0xf
)

// ReservationStore keeps persistent reservations with APTPL across a restart.
type ReservationStore interface {
	Load() ([]byte, error) // nil when nothing is kept
	Save(ctx context.Context, state []byte) error
}

// Config of a LogicalUnit. Functions are called from any goroutine.
type Config struct {
	Kind     Kind
	Identity Identity
	Medium   Medium // of a Volume
	Limits   Limits

	// Translate turns an error of the medium into status and sense.
	Translate func(err error, lba uint64, write bool) (scsi.Status, *scsi.SenseData)
	// Ports lists the target port groups, the same on all paths. Every command calls
	// it: it takes no lock and allocates nothing, and nobody changes the list.
	Ports func() []PortGroup
	// SetPorts changes access states (SET TARGET PORT GROUPS) and tells every nexus
	// but by; nil when only the array may.
	SetPorts func(by *scsi.Nexus, states map[uint16]AccessState) bool
	// LUNs is the content of REPORT LUNS sent to addressed.
	LUNs func(n *scsi.Nexus, addressed scsi.LUN, selectReport byte) ([]scsi.LUN, *scsi.SenseData)
	// CopyTarget finds the logical unit with an NAA designator that n may copy from
	// or to; nil when there is none.
	CopyTarget func(n *scsi.Nexus, naa [16]byte) *LogicalUnit
	// Reservations is nil where APTPL is refused.
	Reservations ReservationStore
	Knobs        func() Knobs
	// Panicked is told of a panic in a handler.
	Panicked func(value any, stack []byte)
}

func (c *Config) validate() error {
	switch {
	case c.Knobs == nil || c.LUNs == nil:
		return errors.New("device: Knobs and LUNs are needed")
	case c.Kind == Volume && (c.Medium == nil || c.Translate == nil):
		return errors.New("device: a volume needs a Medium and Translate")
	case len(c.Identity.Serial) > 64:
		return fmt.Errorf("device: serial number %q is too long", c.Identity.Serial)
	}
	if c.Ports == nil {
		one := []PortGroup{{ID: 1}}
		c.Ports = func() []PortGroup { return one }
	}
	return nil
}
