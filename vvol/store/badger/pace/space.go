package pace

// Crowding: bytes that Badger's value logs hold for each byte that is live, in them or in the
// journal, beyond a slack.
const (
	SpaceBusy  = 1.5 // collected from here on under load; Calm has it for when nothing comes in
	spaceFew   = 1.9 // up to here, hardly anything is moved for it: rewriteBusy
	spaceTight = 2.3
	spaceShort = 2.4 // draining waits from here on, in turn with writers that wait for it
	SpaceMost  = 2.5 // and here until there is less
)

// Dead shares of a value log file from which Badger rewrites it: the less space there is,
// the more is moved for it.
const (
	rewriteBusy = 0.95 // up to spaceFew
	RewriteMost = 0.5  // from spaceTight on
)

// Dead blocks per live one at which records are cleaned.
const (
	cleanBusy = 1.1  // under load, up to spaceTight
	CleanCalm = 0.25 // when nothing comes in: emptier segments cost less to clean
)

// Rewrite is the dead share from which on files are collected under load.
func Rewrite(crowding float64) float64 {
	return between(rewriteBusy, RewriteMost, crowding, spaceFew, spaceTight)
}

// Clean is how many dead blocks for each live one are cleaned under load: the fewer the nearer
// the bound is, so that little is left to be cleaned there.
func Clean(crowding float64) float64 {
	return between(cleanBusy, CleanCalm, crowding, spaceTight, spaceShort)
}

// Enough tells whether there is enough space for draining to go on. turn tells that something
// was done for it, and that writers wait: then it is their turn.
func Enough(crowding float64, turn bool) bool {
	return crowding <= spaceShort || turn && crowding <= SpaceMost
}

// between is least up to the place from, most from the place to on, and in proportion between them.
func between(least, most, at, from, to float64) float64 {
	return least + min(max((at-from)/(to-from), 0), 1)*(most-least)
}
