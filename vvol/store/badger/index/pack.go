package index

// Packed is one record about to be written.
type Packed struct {
	ID     uint64
	Blocks []Move // of one layer, at most RecordBlocks
	Entry  Entry
	Value  []byte // the data of Blocks, one after the other
}

// Content gives the data of blocks that follow each other among those that are packed, which
// stays as it is for as long as the records are used, and their sums, which are the record's.
type Content func([]Move) (value []byte, sums []uint32)

// Pack makes records of sorted blocks, in order, as large as they may be; newID numbers them.
func Pack(blocks []Move, newID func() uint64, content Content) (all []Packed) {
	for len(blocks) > 0 {
		n := recordLength(blocks)
		value, sums := content(blocks[:n])
		all = append(all, Packed{ID: newID(), Blocks: blocks[:n], Value: value, Entry: NewEntry(blocks[:n], sums)})
		blocks = blocks[n:]
	}
	return all
}

// Leading are the first of sorted blocks, n of them and what else belongs to the last record
// that Pack makes of them; all when there are fewer.
func Leading(blocks []Move, n int) []Move {
	end := 0
	for end < min(len(blocks), n) {
		end += recordLength(blocks[end:])
	}
	return blocks[:end]
}

// recordLength is the number of blocks of the first record.
func recordLength(blocks []Move) int {
	n := 1
	for n < len(blocks) && n < RecordBlocks && blocks[n].Layer == blocks[0].Layer {
		n++
	}
	return n
}
