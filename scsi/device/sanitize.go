package device

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"

	"vvsim/scsi"
)

// Service actions of SANITIZE (SBC-3 5.24).
const (
	sanitizeOverwrite   = 0x01
	sanitizeBlockErase  = 0x02
	sanitizeCryptoErase = 0x03
	sanitizeExitFailure = 0x1f
)

// sanitizePhase is where a logical unit is with SANITIZE (SBC-3 4.11).
//
//	idle ── SANITIZE ──▶ running ── done ──▶ idle
//	                        │ error
//	                        ├─ AUSE=0 ──▶ restricted ── SANITIZE, AUSE=0 ──▶ running
//	                        └─ AUSE=1 ──▶ unrestricted ── SANITIZE ──▶ running
//	                                           └── EXIT FAILURE MODE ──▶ idle
type sanitizePhase uint32

const (
	sanitizeIdle sanitizePhase = iota
	sanitizing
	sanitizeRestricted   // failed; only a SANITIZE with AUSE=0 leads on
	sanitizeUnrestricted // failed; EXIT FAILURE MODE gives the unit back as it is
)

// sanitization is the SANITIZE of one logical unit. It belongs to the unit and not
// to the command that began it: it goes on when that is aborted, the unit is
// reset, or the nexus is lost (SBC-3 4.11).
type sanitization struct {
	phase    atomic.Uint32
	progress atomic.Uint32 // of 65,536
	work     sync.WaitGroup

	mu   sync.Mutex
	stop context.CancelFunc // of the one that runs; guarded by mu
}

// bars tells why a command may not run now; nil when it may.
func (s *sanitization) bars(c *command) *scsi.SenseData {
	phase := sanitizePhase(s.phase.Load())
	switch {
	case phase == sanitizeIdle, c.traits&anyState != 0:
		return nil
	case phase == sanitizing:
		p := min(s.progress.Load(), 0xffff)
		return &scsi.SenseData{Key: scsi.NotReady, Code: scsi.SanitizeInProgress, SenseKeySpecific: [3]byte{0x80, byte(p >> 8), byte(p)}}
	case c.op == scsi.OpSanitize:
		return nil // its handler knows the ways out of a failure
	}
	return sanitizeError()
}

func sanitizeError() *scsi.SenseData {
	s := scsi.Sense(scsi.MediumError, scsi.SanitizeCommandFailed)
	return &s
}

// begin takes the unit into the running phase; false when it is there already.
func (s *sanitization) begin() (ctx context.Context, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sanitizePhase(s.phase.Load()) == sanitizing {
		return nil, false
	}
	s.progress.Store(0)
	s.phase.Store(uint32(sanitizing))
	ctx, s.stop = context.WithCancel(context.Background())
	return ctx, true
}

// end leaves the running phase for the next.
func (s *sanitization) end(next sanitizePhase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
	s.phase.Store(uint32(next))
}

// cancel makes what runs fail soon.
func (s *sanitization) cancel() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		s.stop()
	}
}

func (s *sanitization) wait() { s.work.Wait() }

// sanitizeRun is SANITIZE. With IMMED the status comes at once and REQUEST SENSE
// tells the progress.
func sanitizeRun(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	const immed, znr, ause = 0x80, 0x40, 0x20
	action, length := t.CDB[1]&0x1f, int(get16(t.CDB[7:]))
	restricted := sanitizePhase(lu.sanitize.phase.Load()) == sanitizeRestricted
	switch {
	case t.CDB[1]&znr != 0:
		return fail(scsi.InvalidBitInCDB(1, 6)) // no zones here
	case action != sanitizeOverwrite && length != 0:
		return fail(scsi.InvalidFieldInCDB(7))
	case restricted && t.CDB[1]&ause != 0:
		return fail(scsi.InvalidBitInCDB(1, 5))
	case action == sanitizeExitFailure:
		if restricted {
			return fail(scsi.InvalidFieldInCDB(1))
		}
		lu.sanitize.phase.CompareAndSwap(uint32(sanitizeUnrestricted), uint32(sanitizeIdle))
		return scsi.Good()
	}
	if s := lu.writable(); s != nil {
		return fail(*s)
	}
	// No cipher stands between volume and engine: a cryptographic erase is carried out
	// by its effect, dropping every block.
	work := lu.eraseAll
	if action == sanitizeOverwrite {
		pattern, sense := overwritePattern(t.DataOut, length)
		if sense != nil {
			return fail(*sense)
		}
		work = func(ctx context.Context) error { return lu.overwriteAll(ctx, pattern) }
	}
	failure := sanitizeRestricted
	if t.CDB[1]&ause != 0 {
		failure = sanitizeUnrestricted
	}
	done, ok := lu.startSanitize(t, work, failure)
	switch {
	case !ok:
		return fail(scsi.Sense(scsi.NotReady, scsi.SanitizeInProgress))
	case t.CDB[1]&immed != 0:
		return scsi.Response{TransferLength: uint64(length)}
	}
	select {
	case <-t.Context().Done():
		return scsi.Response{Status: scsi.StatusTaskAborted}
	case next := <-done:
		if next != sanitizeIdle {
			return fail(*sanitizeError())
		}
	}
	return scsi.Response{TransferLength: uint64(length)}
}

// startSanitize runs work beside the command that asks for it, once the commands
// that were let in earlier have left. It is the one goroutine of the package;
// Remove waits for it. done gets the phase that it ends in.
func (lu *LogicalUnit) startSanitize(t *scsi.Task, work func(context.Context) error, failure sanitizePhase) (<-chan sanitizePhase, bool) {
	ctx, ok := lu.sanitize.begin()
	if !ok {
		return nil, false
	}
	done := make(chan sanitizePhase, 1)
	lu.mu.Lock()
	own, last := t.Order, lu.tasks.order
	lu.mu.Unlock()
	lu.sanitize.work.Go(func() {
		next := failure // also when work panics
		defer func() {
			lu.rescue(recover())
			lu.sanitize.end(next)
			done <- next
		}()
		lu.settle(own, last)
		if work(ctx) == nil {
			next = sanitizeIdle
		}
	})
	return done, true
}

// settle waits until the tasks up to number last that have had their turn are gone,
// but for number own: a write that passed the gate must not land on sanitized blocks.
func (lu *LogicalUnit) settle(own, last uint64) {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	earlier := func(t *scsi.Task) bool { return t.Started && t.Order <= last && t.Order != own }
	for len(lu.tasks.match(earlier)) > 0 {
		lu.left.Wait()
	}
}

// overwritePattern reads the parameter list of SANITIZE OVERWRITE: invert, test,
// count, and an initialization pattern of up to a block (SBC-3 5.24.2).
func overwritePattern(p []byte, length int) (pattern []byte, sense *scsi.SenseData) {
	const invert, count = 0x80, 0x1f
	refuse := func(s scsi.SenseData) ([]byte, *scsi.SenseData) { return nil, &s }
	switch {
	case length < 4 || length > 4+BlockLength:
		return refuse(scsi.InvalidFieldInCDB(7))
	case len(p) < length:
		return refuse(scsi.ParameterListLength())
	case p[0]&count == 0:
		return refuse(scsi.InvalidFieldInParameters(0)) // no passes
	}
	n := int(get16(p[2:]))
	if n == 0 || n > BlockLength || 4+n != length {
		return refuse(scsi.InvalidFieldInParameters(2))
	}
	pattern = bytes.Repeat(p[4:4+n], BlockLength/n+1)[:BlockLength]
	// Of several passes only the last can be seen; INVERT flips every second one.
	if p[0]&invert != 0 && p[0]&count%2 == 0 {
		for i := range pattern {
			pattern[i] ^= 0xff
		}
	}
	return pattern, nil
}

func (lu *LogicalUnit) eraseAll(ctx context.Context) error {
	step := max(lu.c.Limits.MaxUnmap, BlockLength) / BlockLength
	for lba, n := range pieces(0, lu.blocks(), step) {
		if err := lu.c.Medium.Unmap(ctx, lba*BlockLength, uint64(n)*BlockLength); err != nil {
			return err
		}
		lu.sanitized(lba + uint64(n))
	}
	return lu.c.Medium.Flush(ctx)
}

// overwriteAll writes the pattern where the volume holds data; elsewhere nothing
// can be found, so that zeros do not fill a thin volume to its full size.
func (lu *LogicalUnit) overwriteAll(ctx context.Context, pattern []byte) error {
	for e, err := range lu.c.Medium.Extents(ctx, 0, lu.blocks()*BlockLength) {
		if err != nil {
			return err
		}
		if !e.Mapped && isZero(pattern) {
			continue
		}
		for lba, n := range pieces(e.Offset/BlockLength, e.Length/BlockLength, maxWriteSame/BlockLength) {
			if err := lu.fill(ctx, pattern, lba, uint64(n)); err != nil {
				return err
			}
			lu.sanitized(lba + uint64(n))
		}
	}
	return lu.c.Medium.Flush(ctx)
}

// sanitized notes that the blocks below lba are done.
func (lu *LogicalUnit) sanitized(lba uint64) {
	lu.sanitize.progress.Store(uint32(float64(lba) / float64(max(lu.blocks(), 1)) * 0x10000))
}
