package journal

import (
	"encoding/binary"
	"errors"

	"vvsim/vvol/store/badger/sum"
)

// A Group is what the journal appends at once and replays whole or not at all:
// header pages with the entries, then the pages of their data in the same order.
//
//	0  magic        u32      24 position   u64  page of the journal, counted on forever
//	4  CRC32C       u32      32 pages      u32  of the whole group
//	8  journal id   u64      36 entries    u32
//	16 sequence     u64      40 epoch      u64
//	48 stable       u64      56 entries of 24 bytes: layer u64, first block u64,
//	                            blocks u32, kind u32
//
// Stable is the page before which all was on stable storage when the group was written:
// what is not whole there is damaged, and not torn by an unclean end. The checksum covers the header from byte 8 to the last entry, and all data. A
// group never wraps around the end of the ring: padding fills up what is too short.
const (
	// PageSize is the size of a page, in bytes: one block of data.
	PageSize    = sum.PageSize
	groupMagic  = 0x76764a33 // "vvJ3"
	groupHeader = 56
	entryLength = 24

	// MaxRuns is the most entries that a group may have.
	MaxRuns = 2048
)

// Kind is what an entry of a group says.
type Kind uint32

// Kinds of entries.
const (
	Write   Kind = iota // blocks that are written, one page each
	Zero                // blocks that read as zeros; no data
	Rows                // rows: First is their length in bytes, Count the pages
	Padding             // nothing: fills the ring up to its end
)

// Run is one entry: consecutive blocks of a layer.
type Run struct {
	Kind  Kind
	Layer uint64 // id; of rows and padding 0
	First uint64 // block; of rows, their length in bytes
	Count uint32 // blocks; of rows, pages
	Page  uint64 // of the first block's data; filled in by Append
}

// dataPages is how many pages of data belong to the entry.
func (r *Run) dataPages() uint64 {
	if r.Kind == Write || r.Kind == Rows {
		return uint64(r.Count)
	}
	return 0
}

// Group is one that was appended or found.
type Group struct {
	Position, End uint64 // pages of the journal
	Sequence      uint64
	Epoch         uint64 // of the open that appended it
	Stable        uint64 // pages before it were on stable storage when it was appended
	Runs          []Run
}

// HeaderPages is how many pages the header of a group takes.
func HeaderPages(runs int) int { return (groupHeader + entryLength*runs + PageSize - 1) / PageSize }

// encodeHeader fills b, whole pages, but for the checksum.
func (g *Group) encodeHeader(b []byte, journal uint64) {
	binary.BigEndian.PutUint32(b, groupMagic)
	binary.BigEndian.PutUint64(b[8:], journal)
	binary.BigEndian.PutUint64(b[16:], g.Sequence)
	binary.BigEndian.PutUint64(b[24:], g.Position)
	binary.BigEndian.PutUint32(b[32:], uint32(g.End-g.Position))
	binary.BigEndian.PutUint32(b[36:], uint32(len(g.Runs)))
	binary.BigEndian.PutUint64(b[40:], g.Epoch)
	binary.BigEndian.PutUint64(b[48:], g.Stable)
	for i := range g.Runs {
		r, e := &g.Runs[i], b[groupHeader+entryLength*i:]
		binary.BigEndian.PutUint64(e, r.Layer)
		binary.BigEndian.PutUint64(e[8:], r.First)
		binary.BigEndian.PutUint32(e[16:], r.Count)
		binary.BigEndian.PutUint32(e[20:], uint32(r.Kind))
	}
}

// seal computes the checksum over the header of a number of runs and the data, whose pages
// have these.
func seal(header []byte, runs int, pages []uint32) uint32 {
	s := sum.Of(header[8 : groupHeader+entryLength*runs])
	for _, p := range pages {
		s = sum.Join(s, p)
	}
	return s
}

var errNoGroup = errors.New("no group")

// decodeGroup reads the group at the start of b, which ends with the ring, and puts the
// checksums of its pages of data into sums, which has room for all pages of b. It
// returns errNoGroup when what stands there is none of this journal, is torn, or is
// not the expected one.
func decodeGroup(b []byte, sums []uint32, journal, position, sequence uint64) (g Group, err error) {
	if len(b) < PageSize || binary.BigEndian.Uint32(b) != groupMagic || binary.BigEndian.Uint64(b[8:]) != journal {
		return g, errNoGroup
	}
	g = Group{Position: position, Sequence: sequence, Epoch: binary.BigEndian.Uint64(b[40:]), Stable: binary.BigEndian.Uint64(b[48:])}
	pages, runs := uint64(binary.BigEndian.Uint32(b[32:])), int(binary.BigEndian.Uint32(b[36:]))
	g.End = position + pages
	if binary.BigEndian.Uint64(b[16:]) != sequence || binary.BigEndian.Uint64(b[24:]) != position ||
		runs > MaxRuns || pages*PageSize > uint64(len(b)) || pages < uint64(HeaderPages(runs)) {
		return g, errNoGroup
	}
	header := HeaderPages(runs)
	next := position + uint64(header)
	g.Runs = make([]Run, runs)
	padding := false
	for i := range g.Runs {
		e := b[groupHeader+entryLength*i:]
		r := &g.Runs[i]
		*r = Run{Kind: Kind(binary.BigEndian.Uint32(e[20:])), Layer: binary.BigEndian.Uint64(e), First: binary.BigEndian.Uint64(e[8:]),
			Count: binary.BigEndian.Uint32(e[16:]), Page: next}
		padding = padding || r.Kind == Padding
		next += r.dataPages()
		if next > g.End {
			return g, errNoGroup
		}
	}
	if next != g.End && !padding {
		return g, errNoGroup
	}
	for page := uint64(header); page < next-position; page++ {
		sums[page] = sum.Of(b[page*PageSize : (page+1)*PageSize])
	}
	if seal(b, runs, sums[header:next-position]) != binary.BigEndian.Uint32(b[4:]) {
		return g, errNoGroup
	}
	return g, nil
}
