package secondary

import "math/bits"

// Max is the number of secondary ids of one host on one PE (scsi.md 1.1).
const Max = 16383

// Rest is the number of ids of one host and PE that rest after their
// release before they are handed out again, so that a host that still has a stale
// device does not find another volume behind its LUN.
const Rest = 512

// IDs hands out the secondary ids of one host on one PE: the lowest that
// is neither used nor resting. Rest is forgotten over a restart, which ends all sessions.
type IDs struct {
	used, resting []uint64 // bit n-1 of the set is id n
	queue         []uint64 // resting ids, oldest first
	count         int      // of used
}

func bitOf(id uint64) (word int, mask uint64) { return int((id - 1) / 64), 1 << ((id - 1) % 64) }

func (s *IDs) grow(word int) {
	for len(s.used) <= word {
		s.used, s.resting = append(s.used, 0), append(s.resting, 0)
	}
}

// Take returns the id and marks it used; false when all are used.
func (s *IDs) Take() (uint64, bool) {
	if s.count >= Max {
		return 0, false
	}
	for {
		if id, ok := s.lowest(); ok {
			s.Mark(id)
			return id, true
		}
		s.wake() // everything free is resting
	}
}

func (s *IDs) lowest() (uint64, bool) {
	for w := 0; w*64 < Max; w++ {
		s.grow(w)
		if free := ^(s.used[w] | s.resting[w]); free != 0 {
			id := uint64(w*64+bits.TrailingZeros64(free)) + 1
			return id, id <= Max
		}
	}
	return 0, false
}

// Mark makes id used, whether it was before or not.
func (s *IDs) Mark(id uint64) {
	w, m := bitOf(id)
	s.grow(w)
	if s.used[w]&m == 0 {
		s.used[w] |= m
		s.count++
	}
}

// Free makes id unused; with rest it waits its turn.
func (s *IDs) Free(id uint64, rest bool) {
	w, m := bitOf(id)
	if w >= len(s.used) || s.used[w]&m == 0 {
		return
	}
	s.used[w] &^= m
	s.count--
	if !rest {
		return
	}
	s.resting[w] |= m
	s.queue = append(s.queue, id)
	if len(s.queue) > Rest {
		s.wake()
	}
}

// wake ends the rest of the id that rests longest.
func (s *IDs) wake() {
	if len(s.queue) == 0 {
		return
	}
	w, m := bitOf(s.queue[0])
	s.resting[w] &^= m
	s.queue = s.queue[1:]
}
