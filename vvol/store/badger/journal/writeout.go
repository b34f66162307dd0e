package journal

// WriteOutPages is how much of the journal may be off stable storage before WriteOut
// flushes it: what who waits for a flush finds left is that much and what came in
// during one.
const WriteOutPages = (4 << 20) / PageSize

// WriteOut flushes the journal whenever as much waits, beside who appends, until stop is
// closed or the journal has failed, which the next caller is told.
func (j *Ring) WriteOut(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-j.unflushed:
		}
		if j.Flush() != nil {
			return
		}
	}
}

// askForWriteOut is called after an append.
func (j *Ring) askForWriteOut() {
	if j.head.Load()-j.stable.Load() <= WriteOutPages {
		return
	}
	select {
	case j.unflushed <- struct{}{}:
	default:
	}
}
