package index

// Sizes.
const (
	// BlockSize is the size of a block, in bytes.
	BlockSize = 4096
	// MaxBlocks is the most blocks of a volume.
	MaxBlocks = 64 << 40 / BlockSize
	// RecordBlocks is the most blocks of one record.
	RecordBlocks = 1 << indexBits

	indexBits = 6
)

// Location is where a layer keeps a block: a record's id and the index in it, or a
// page of the journal.
type Location uint64

// Locations without data.
const (
	Absent Location = 0 // the layer says nothing: look below
	Zeroed Location = 1 // reads as zeros, whatever is below
)

// inJournal marks pages of the journal; they compare as newer than any record.
const inJournal Location = 1 << 63

// At is the location of an index of a record.
func At(id uint64, index int) Location { return Location(id<<indexBits | uint64(index)) }

// Journaled is the location of a page of the journal.
func Journaled(page uint64) Location { return inJournal | Location(page) }

// Data tells whether there is a block to read.
func (l Location) Data() bool { return l > Zeroed }

// Journaled tells whether the block is in the journal only.
func (l Location) Journaled() bool { return l >= inJournal }

// Page is the page of a block in the journal.
func (l Location) Page() uint64 { return uint64(l &^ inJournal) }

// Recorded tells whether the block is in a record.
func (l Location) Recorded() bool { return l > Zeroed && l < inJournal }

// Record is the id of a recorded block's record.
func (l Location) Record() uint64 { return uint64(l) >> indexBits }

// Index is the index of a recorded block in its record.
func (l Location) Index() int { return int(l & (RecordBlocks - 1)) }
