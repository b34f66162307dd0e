package store

import (
	"context"
	"encoding/hex"
	"fmt"
	"iter"
	"strings"
	"time"
)

// ID names a volume: the sixteen bytes of its UUID.
type ID [16]byte

// String is the lower-case UUID with dashes.
func (id ID) String() string {
	var b [36]byte
	hex.Encode(b[:8], id[:4])
	hex.Encode(b[9:13], id[4:6])
	hex.Encode(b[14:18], id[6:8])
	hex.Encode(b[19:23], id[8:10])
	hex.Encode(b[24:], id[10:])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// ParseID reads a UUID with dashes, in either case.
func ParseID(s string) (id ID, err error) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, fmt.Errorf("%q is not a UUID", s)
	}
	if _, err := hex.Decode(id[:], []byte(strings.ReplaceAll(s, "-", ""))); err != nil {
		return ID{}, fmt.Errorf("%q is not a UUID", s)
	}
	return id, nil
}

// Pool names a group of volumes whose space is counted and limited together; a
// storage container is one. Layers shared by clones count once, in the pool of
// the volume that wrote them.
type Pool ID

// CreateOptions describe a new volume, which reads as zeros.
type CreateOptions struct {
	Size uint64 // bytes, a multiple of Limits.BlockSize
	Pool Pool
}

// SnapshotSpec asks for Snapshot as a frozen image of Source.
type SnapshotSpec struct {
	Source, Snapshot ID
	// Writable lets the snapshot be written like a clone; the source never sees it.
	Writable bool
}

// Engine keeps volumes. All methods are safe for concurrent use.
//
// Changes are idempotent by id, so that an operation which was cut off by a
// crash may be repeated: creating, snapshotting or cloning to an id that exists
// with the same origin, and deleting an id that does not exist, succeed and
// change nothing; to an id that exists otherwise it is ErrExists. A change is
// durable and complete when the method returns nil, and has not happened at all
// when it returns an error. Running I/O is held for at most the moment of the
// change, never failed by it.
type Engine interface {
	// Create makes a volume. Errors: ErrExists, ErrInvalid (size), ErrNoSpace (pool).
	Create(ctx context.Context, id ID, o CreateOptions) error

	// Open returns the volume for I/O. Every Open has a Close; volumes may be open
	// many times. Errors: ErrNotFound.
	Open(ctx context.Context, id ID) (Object, error)

	// Delete removes the volume; its open objects answer ErrGone from then on.
	// Snapshots and clones of it are unharmed. Space returns in the background.
	Delete(ctx context.Context, id ID) error

	// Snapshot freezes all sources at one instant: a write acknowledged before the
	// call is in its snapshot, one submitted after the return is not, and of two
	// ordered writes to two sources no snapshot set holds only the later one. Time
	// does not depend on size. Errors: ErrNotFound, ErrExists, ErrTooDeep.
	Snapshot(ctx context.Context, specs []SnapshotSpec) error

	// Clone makes dst a writable volume in pool with the present content of src,
	// sharing all data, in time that does not depend on size. Errors as Snapshot.
	Clone(ctx context.Context, src, dst ID, pool Pool) error

	// Revert makes the content and the size of id those of snapshot, any volume of
	// the same family, at once for open objects too. Errors: ErrNotFound,
	// ErrInvalid (unrelated), ErrTooDeep.
	Revert(ctx context.Context, id, snapshot ID) error

	// Resize sets the size; growth reads as zeros, and data beyond a smaller size
	// is discarded and does not come back. Errors: ErrNotFound, ErrInvalid,
	// ErrReadOnly (a read-only snapshot).
	Resize(ctx context.Context, id ID, size uint64) error

	// Stat tells what a volume is and holds. Errors: ErrNotFound.
	Stat(ctx context.Context, id ID) (Info, error)

	// Volumes lists all volumes, in no order. The catalog compares itself with it at start.
	Volumes(ctx context.Context) ([]ID, error)

	// SetPool lets a volume draw on another pool. What can be written again in place
	// (Info.InPlace) counts there from then on, and the limits of both pools, where they
	// have one, move by as much, so that nothing that had room before lacks it after. What
	// the volume shares stays where it is counted. Errors: ErrNotFound.
	SetPool(ctx context.Context, id ID, pool Pool) error

	// SetPoolLimit bounds the bytes that pool may hold; 0 means none. Writes that
	// would allocate beyond it fail with ErrNoSpace; what is there stays. Not durable:
	// the catalog sets it at every start.
	SetPoolLimit(pool Pool, bytes uint64)

	// PoolUsage is the bytes that the layers of pool hold, each block once.
	PoolUsage(pool Pool) uint64

	// Metrics is a snapshot of the engine's counters and gauges.
	Metrics() Metrics

	Limits() Limits
	Meta() Meta

	// Close ends background work, puts everything on stable storage and closes.
	// Open objects answer ErrUnavailable from then on. Idempotent; waits.
	Close() error
}

// Info is what Stat tells.
type Info struct {
	Size      uint64 // bytes
	Allocated uint64 // bytes that hold data, wherever it lives in the chain
	Unshared  uint64 // bytes that would return if this volume alone were deleted
	InPlace   uint64 // part of Allocated that can be written again without more space; falls only when the volume is snapshotted, cloned, reverted, shrunk or unmapped
	ReadOnly  bool
	Depth     int // layers below, itself included
	Pool      Pool
}

// Limits are the engine's constants. The Block Limits page is computed from
// them, so that one SCSI command is one engine transaction.
type Limits struct {
	BlockSize   int    // bytes: granularity of allocation, zeroing and diffs
	MaxTransfer int    // bytes of one WriteAt, ReadAt or CompareAndWrite
	AtomicWrite int    // bytes that are written all or nothing across a crash
	MaxUnmap    uint64 // bytes of one Unmap or Zero
	MaxSize     uint64 // bytes of one volume
	MaxDepth    int    // layers of one chain
	MaxSnapshot int    // sources of one Snapshot call
	// Sync tells that every write is on stable storage before it returns
	// (store.durability: sync), so that the write cache reads as disabled.
	Sync bool
}

// Object is one open volume. All methods are safe for concurrent use, with these
// rules for overlapping calls: a read sees each BlockSize block wholly before or
// after a write, never mixed; CompareAndWrite is atomic against everything.
// Offsets and lengths are bytes and multiples of 512, need not be multiples of
// BlockSize, and may not reach beyond the size (ErrOutOfRange). Slices are
// borrowed for the duration of the call. A cancelled ctx may end a call early
// with ctx.Err(); a write then has happened or not, as a whole.
//
// Errors of all: ErrOutOfRange, ErrGone, ErrUnavailable, ErrMedium; of those that
// change data also ErrNoSpace and ErrReadOnly.
type Object interface {
	ID() ID

	// Size is the present size in bytes; a Resize shows at once.
	Size() uint64

	// ReadOnly tells whether writes are refused with ErrReadOnly.
	ReadOnly() bool

	// ReadAt fills p from off. Unallocated bytes are zero.
	ReadAt(ctx context.Context, p []byte, off uint64) error

	// WriteAt writes p at off.
	WriteAt(ctx context.Context, p []byte, off uint64, o WriteOptions) error

	// WriteAll performs several writes, each by itself, in the order of the slice where
	// they overlap, and for less than one after the other. Each gets its own error.
	WriteAll(ctx context.Context, writes []Write, o WriteOptions)

	// CompareAndWrite writes data at off if the bytes there equal compare, which is
	// as long. Else it returns a *MiscompareError.
	CompareAndWrite(ctx context.Context, compare, data []byte, off uint64, o WriteOptions) error

	// Zero makes a range read as zeros and stay allocated where it was or becomes
	// so, as the engine likes.
	Zero(ctx context.Context, off, n uint64, o WriteOptions) error

	// Unmap deallocates a range: it reads as zeros. Parts of blocks at its ends are
	// zeroed.
	Unmap(ctx context.Context, off, n uint64, o WriteOptions) error

	// CopyFrom makes n bytes at off equal to those of src at srcOff, without moving
	// data through the caller; unallocated parts of src become unallocated. src
	// belongs to the same engine. n may exceed MaxTransfer; then the copy is not
	// atomic.
	CopyFrom(ctx context.Context, off uint64, src Object, srcOff, n uint64) error

	// Flush returns when all writes acknowledged before it are on stable storage.
	Flush(ctx context.Context) error

	// Ranges yields maximal ranges of kind in order of offset, from offset from to
	// the end. base matters for Different only. The view is of one instant
	// or of none: a range written meanwhile may or may not show. An error ends the
	// sequence as its last element: ErrInvalid when base is not of the same family.
	Ranges(ctx context.Context, kind RangeKind, base ID, from uint64) iter.Seq2[Range, error]

	// Close ends the use of this Object; calls running on it end first.
	Close() error
}

// WriteOptions of one write.
type WriteOptions struct {
	FUA bool // on stable storage before the return (SBC-3 4.13)
}

// Write is one write of WriteAll.
type Write struct {
	Data   []byte // borrowed for the call
	Offset uint64 // bytes
	Err    error  // set by WriteAll; nil: written
}

// RangeKind selects what Ranges yields.
type RangeKind int

const (
	Allocated RangeKind = iota // blocks that hold data
	Unshared                   // blocks that no other volume can see
	Different                  // blocks that may differ from base
)

// Range is a byte range of a volume.
type Range struct{ Offset, Length uint64 }

// Meta is a small ordered key-value space beside the volumes, with serialisable
// transactions. Safe for concurrent use.
type Meta interface {
	// View runs f on a consistent state; f must not keep tx or its values.
	View(ctx context.Context, f func(tx MetaTx) error) error

	// Update runs f and commits what it set, on stable storage, when f returns nil;
	// otherwise nothing changes and f's error is returned. f may run more than once.
	Update(ctx context.Context, f func(tx MetaTx) error) error
}

// MetaTx is one transaction. Not safe for concurrent use. Keys are 1 to
// MaxMetaKey bytes, values at most MaxMetaValue.
type MetaTx interface {
	// Get returns the value of key, valid until the transaction ends, or ErrNotFound.
	Get(key []byte) ([]byte, error)

	// Set and Delete show in later reads of the same transaction. They keep the
	// slices until the transaction ends. ErrInvalid for a key or value over the
	// limits and in a View; ErrTooBig when the transaction is full.
	Set(key, value []byte) error
	Delete(key []byte) error

	// Scan yields the pairs whose key has prefix, in order of key. Keys and values
	// are valid until the next step. The transaction may not be changed during it.
	Scan(prefix []byte) iter.Seq2[[]byte, []byte]
}

// Limits of Meta.
const (
	MaxMetaKey   = 1 << 10
	MaxMetaValue = 1 << 20
)

// Metrics of an engine. Bytes unless said.
type Metrics struct {
	Live                                            uint64 // data that some volume can see
	Disk                                            uint64 // data and logs on disk
	Garbage                                         uint64 // on disk and dead, waiting for collection
	Reclaimed                                       uint64 // given back since start
	ReclaimRate                                     uint64 // given back per second, over the last MeterSpan
	Pending                                         uint64 // deleted layers waiting for collection
	Dirty                                           uint64 // acknowledged, and held by the journal only
	Volumes, Layers                                 int
	Writes, WrittenBytes, Reads, ReadBytes, Flushes uint64
	Compactions                                     uint64
	Holds                                           uint64        // changes of volumes and of Meta for which all writes stood still
	Held, LongestHold                               time.Duration // of those; an engine that counts none says 0
	// Extra holds figures of the particular engine by metric name.
	Extra map[string]float64
}
