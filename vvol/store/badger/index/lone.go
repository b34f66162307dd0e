package index

import (
	"math/bits"
	"slices"
)

// A block that has few others near it is one word in its branch or twig, where a chunk
// would cost several times as much: from the highest bit its number within the branch,
// whether its location is a page of the journal, and the page, or the record's id and
// the index in it.
type word uint64

const (
	pageBits  = 45
	blockBits = branchAll + indexBits // of a block's number within its branch
	blockAt   = 64 - blockBits        // of a word: where these begin,
	chunkAt   = blockAt + indexBits   // those that tell the chunk,
	twigAt    = chunkAt + twigBits    // and those that tell the twig
)

// packed returns the word of a block, if its location fits into one.
func packed(block uint64, loc Location) (w word, fits bool) {
	page := loc &^ inJournal
	w = word(block)<<blockAt | word(page)
	if loc.Journaled() {
		w |= 1 << pageBits
	}
	return w, page < 1<<pageBits
}

// block is the number of the word's block within its branch.
func (w word) block() uint64 { return uint64(w >> blockAt) }

// location is that of the word's block.
func (w word) location() Location {
	loc := Location(w & (1<<pageBits - 1))
	if w&(1<<pageBits) != 0 {
		loc |= inJournal
	}
	return loc
}

// words are blocks of one branch, in order.
type words []word

// lone are the words of a branch or twig. What could be a kid of it is a part: at tells
// for them all in which bits of a word a part's number begins, twigAt or chunkAt. Many
// words are found by marks, a power of two of them, which divide the blocks evenly.
type lone struct {
	words
	marks []mark
}

// mark is of one part, or of some that follow each other.
type mark struct {
	has  uint64 // the set of those of its 64 groups of blocks that have words
	from uint16 // the place of its first word, if it has any
}

const (
	// loneMost is the most words of one part. More become a kid, which then costs little
	// more than they do; and those that move when a word is put between others are no
	// more than 8 KiB.
	loneMost = 16
	// markMost is the most words for each mark, while parts share marks, and markLeast the
	// fewest. Twice markMost words have no marks, more have marksLeast of them at first.
	markMost, markLeast, marksLeast = 16, 4, 4
)

// search returns the place of the first word from one on. What it compares are numbers of
// chance: it has no branches to be guessed wrong.
func (s words) search(w word) (k int) {
	for n := len(s); n > 0; {
		half := (n + 1) / 2
		_, less := bits.Sub64(uint64(s[k+half-1]), uint64(w), 0)
		k += half & -int(less)
		n -= half
	}
	return k
}

// group returns the number of a block's group: the mark is that divided by 64.
func (s *lone) group(block uint64, at uint) uint64 {
	key := block << (64 + blockAt - fanBits - at) // from the highest bit, the part and what is within
	return key >> (64 - fanBits - bits.TrailingZeros(uint(len(s.marks))))
}

// bounds returns bounds of words among which those of all blocks of a block's part are.
func (s *lone) bounds(block uint64, at uint) (first, last int) {
	if len(s.marks) == 0 {
		return 0, len(s.words)
	}
	return s.marked(s.group(block, at) / 64)
}

// marked returns the bounds of the words of a mark.
func (s *lone) marked(m uint64) (first, last int) {
	if first, last = int(s.marks[m].from), len(s.words); m+1 < uint64(len(s.marks)) {
		last = int(s.marks[m+1].from)
	}
	return first, last
}

// find returns where the word of a block is, or belongs. Each group before and behind that
// of the block has a word or more, among which it is not looked for.
func (s *lone) find(block uint64, at uint) (k int, there bool) {
	first, last := 0, len(s.words)
	if len(s.marks) > 0 {
		g := s.group(block, at)
		has := s.marks[g/64].has
		first, last = s.marked(g / 64)
		first += bits.OnesCount64(has & (1<<(g%64) - 1))
		last -= bits.OnesCount64(has >> (g % 64) >> 1)
	}
	w := word(block) << blockAt
	k = first + s.words[first:last].search(w)
	return k, k < last && s.words[k]>>blockAt == w>>blockAt
}

// get returns the location of a block.
func (s *lone) get(block uint64, at uint) Location {
	if len(s.marks) > 0 {
		if g := s.group(block, at); s.marks[g/64].has>>(g%64)&1 == 0 {
			return Absent
		}
	}
	if k, there := s.find(block, at); there {
		return s.words[k].location()
	}
	return Absent
}

// chunk returns the words of the blocks of a chunk.
func (s *lone) chunk(number uint64, at uint) words {
	block := number * ChunkBlocks
	if len(s.marks) > 0 {
		g, last := s.group(block, at), s.group(block+ChunkBlocks-1, at)
		if s.marks[g/64].has&within(g/64, g, last+1) == 0 {
			return nil
		}
	}
	first, last := s.near(block, at, chunkAt)
	return s.words[first:last]
}

// near returns the bounds of the words of a block's part, or of its chunk: of is at, or
// chunkAt.
func (s *lone) near(block uint64, at, of uint) (first, last int) {
	first, end := s.bounds(block, at)
	w := word(block) << blockAt >> of
	first += s.words[first:end].search(w << of)
	for last = first; last < end && s.words[last]>>of == w; last++ {
	}
	return first, last
}

// set changes the location of a block and returns what was there. It changes nothing if
// the block cannot be a word, or not beside so many of its part.
func (s *lone) set(block uint64, to Location, at uint) (old Location, done bool) {
	w, fits := packed(block, to)
	k, there := s.find(block, at)
	switch {
	case !fits:
		return Absent, false
	case there && to == Absent:
		old = s.words[k].location()
		s.words = remove(s.words, k, k+1)
		s.changed(block, at, -1)
	case there:
		old, s.words[k] = s.words[k].location(), w
	case to != Absent:
		if first, last := s.near(block, at, at); last-first == loneMost {
			return Absent, false
		}
		s.words = insert(s.words, k, w)
		s.changed(block, at, 1)
	}
	return old, true
}

// cut takes out the words of a block's part.
func (s *lone) cut(block uint64, at uint) words {
	first, last := s.near(block, at, at)
	part := slices.Clone(s.words[first:last])
	s.words = remove(s.words, first, last)
	s.changed(block, at, -len(part))
	return part
}

// changed has the marks know that a block's part has so many words more.
func (s *lone) changed(block uint64, at uint, n int) {
	switch m := len(s.marks); {
	case len(s.words) > markMost*max(m, marksLeast/2) && m < fanOut:
		s.mark(max(2*m, marksLeast), at)
	case len(s.words) < markLeast*m:
		s.mark(m/2, at)
	case m > 0:
		g := s.group(block, at)
		for i := g/64 + 1; i < uint64(m); i++ {
			s.marks[i].from += uint16(n)
		}
		if n > 0 {
			s.marks[g/64].has |= 1 << (g % 64)
		} else {
			s.look(g/64, at)
		}
	}
}

// look looks anew which groups of a mark have words.
func (s *lone) look(m uint64, at uint) {
	s.marks[m].has = 0
	first, last := s.marked(m)
	for _, w := range s.words[first:last] {
		s.marks[m].has |= 1 << (s.group(w.block(), at) % 64)
	}
}

// mark makes n new marks, or none if that is too few.
func (s *lone) mark(n int, at uint) {
	if s.marks = nil; n < marksLeast {
		return
	}
	s.marks = make([]mark, n)
	for k := len(s.words) - 1; k >= 0; k-- {
		g := s.group(s.words[k].block(), at)
		m := &s.marks[g/64]
		m.has |= 1 << (g % 64)
		m.from = uint16(k)
	}
	for next, m := len(s.words), n-1; m >= 0; m-- {
		if s.marks[m].has == 0 {
			s.marks[m].from = uint16(next)
		}
		next = int(s.marks[m].from)
	}
}

// insert is slices.Insert for slices of which there are many: one that is full grows by a
// quarter.
func insert[E any](s []E, k int, e E) []E {
	if len(s) == cap(s) {
		s = append(slices.Grow([]E(nil), len(s)+len(s)/4+1), s...)
	}
	return slices.Insert(s, k, e)
}

// remove is slices.Delete for the same: one that is half empty shrinks.
func remove[E any](s []E, first, last int) []E {
	s = slices.Delete(s, first, last)
	switch {
	case len(s) == 0:
		return nil
	case cap(s) >= 8 && len(s) <= cap(s)/2:
		return append(slices.Grow([]E(nil), len(s)+1), s...)
	}
	return s
}
