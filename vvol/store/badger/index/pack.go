package index

// Packed is one record about to be written.
type Packed struct {
	ID     uint64
	Blocks []Move // of one layer, at most RecordBlocks
	Entry  Entry
	Value  []byte // the data of Blocks, one after the other
}

// Pack makes records of sorted blocks, in order, as large as they may be: newID numbers them,
// value gives the data of blocks that follow each other in blocks, and stays as it is for as
// long as the records are used.
func Pack(blocks []Move, newID func() uint64, value func([]Move) []byte) (all []Packed) {
	for len(blocks) > 0 {
		n := recordLength(blocks)
		r := Packed{ID: newID(), Blocks: blocks[:n], Value: value(blocks[:n])}
		r.Entry = NewEntry(r.Blocks, r.Value)
		all = append(all, r)
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
