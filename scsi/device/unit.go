package device

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"vvsim/scsi"
	"vvsim/scsi/cdb"
)

// LogicalUnit is one device server. Safe for concurrent use.
type LogicalUnit struct {
	c       Config
	table   *table
	absent  Absent
	removed atomic.Bool
	nexuses atomic.Pointer[map[*scsi.Nexus]*nexusState] // copied on change, under mu
	guarded atomic.Bool                                 // a reservation or registration exists

	mode     modePages // own lock
	sanitize sanitization

	persistent sync.Mutex // held by PERSISTENT RESERVE OUT from reading to keeping the state

	mu           sync.Mutex // guards what follows; never held during I/O
	left         sync.Cond  // a task has left, or waiters have to look again
	tasks        taskSet
	reservations reservations
}

// New returns a logical unit with the reservations that its store kept.
func New(c Config) (*LogicalUnit, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	lu := &LogicalUnit{c: c, table: sharedTable()}
	lu.absent = Absent{LUNs: c.LUNs, Sense: scsi.UnsupportedLUN}
	lu.left.L = &lu.mu
	lu.nexuses.Store(&map[*scsi.Nexus]*nexusState{})
	lu.mode.reset()
	lu.mode.setWriteThrough(c.Limits.WriteThrough)
	if err := lu.loadReservations(); err != nil {
		return nil, err
	}
	return lu, nil
}

// Medium returns the medium of a volume, nil of other kinds.
func (lu *LogicalUnit) Medium() Medium { return lu.c.Medium }

// SetWriteThrough says that every write is on stable storage before its status, or no
// longer, beside what Limits say. Writes that begin after it returns are; when that
// changes, every nexus hears of it by MODE PARAMETERS CHANGED (SPC-4 5.14).
func (lu *LogicalUnit) SetWriteThrough(on bool) {
	if lu.mode.setWriteThrough(on || lu.c.Limits.WriteThrough) {
		lu.Attention(scsi.ModeParametersChanged, nil)
	}
}

// WriteThrough tells whether every write is on stable storage before its status.
func (lu *LogicalUnit) WriteThrough() bool { return lu.mode.writeThrough() }

// Prepare implements scsi.LogicalUnit.
func (lu *LogicalUnit) Prepare(t *scsi.Task) int {
	cmd := lu.table.lookUp(t.CDB)
	lu.mu.Lock()
	lu.tasks.add(t)
	free := cmd != nil && cmd.traits&prompt != 0 && lu.tasks.ordered == 0
	t.Prompt = free && (cmd.dataOut == nil || !lu.stable(t.CDB))
	t.Joins = free && cmd.dataOut != nil
	lu.mu.Unlock()
	if cmd == nil || cmd.dataOut == nil || cmd.kinds&lu.c.Kind == 0 {
		return 0
	}
	return cmd.dataOut(lu, t.CDB)
}

// stable tells whether a WRITE is on stable storage when it ends.
func (lu *LogicalUnit) stable(b []byte) bool {
	return b[0] != byte(scsi.OpWrite6) && b[1]&cdb.FUA != 0 || !lu.mode.writeCache()
}

// Execute implements scsi.LogicalUnit.
func (lu *LogicalUnit) Execute(t *scsi.Task) (r scsi.Response) {
	defer lu.leave(t)
	defer func() {
		if lu.rescue(recover()) {
			r = scsi.CheckCondition(scsi.InternalTargetFailure())
		}
	}()
	if status := lu.awaitTurn(t); status != scsi.StatusGood {
		return scsi.Response{Status: status}
	}
	cmd, r := lu.check(t)
	if cmd != nil {
		r = cmd.run(lu, t)
	}
	return lu.formatted(r)
}

// formatted chooses the format of the sense data.
func (lu *LogicalUnit) formatted(r scsi.Response) scsi.Response {
	if r.Sense != nil {
		r.DescriptorSense = lu.mode.descriptorSense()
	}
	return r
}

// rescue reports a panic; false when there was none.
func (lu *LogicalUnit) rescue(v any) bool {
	if v != nil && lu.c.Panicked != nil {
		lu.c.Panicked(v, debug.Stack())
	}
	return v != nil
}

// check applies the checks that come before every handler. It returns the command to
// run, or nil and the answer.
func (lu *LogicalUnit) check(t *scsi.Task) (*command, scsi.Response) {
	if lu.removed.Load() {
		return nil, lu.absent.answer(t)
	}
	cmd := lu.table.lookUp(t.CDB)
	nexus := lu.nexusOf(t)
	if nexus.pending.Load() && (cmd == nil || cmd.traits&exempt == 0) {
		if code, ok := lu.takeAttention(nexus); ok {
			return nil, scsi.CheckCondition(scsi.Attention(code))
		}
	}
	if cmd == nil || !lu.offers(cmd) {
		return nil, lu.unsupported(t)
	}
	if s := lu.inaccessible(t.Nexus.TargetPort, cmd.traits); s != nil {
		return nil, scsi.CheckCondition(*s)
	}
	if lu.guarded.Load() && lu.conflicts(t.Nexus, cmd, t.CDB) {
		return nil, scsi.Response{Status: scsi.StatusReservationConflict}
	}
	if s := lu.sanitize.bars(cmd); s != nil {
		return nil, scsi.CheckCondition(*s)
	}
	if s := cmd.checkUsage(t.CDB); s != nil {
		return nil, scsi.CheckCondition(*s)
	}
	return cmd, scsi.Response{}
}

// unsupported answers an operation code or service action without a row.
func (lu *LogicalUnit) unsupported(t *scsi.Task) scsi.Response {
	if lu.c.Kind == Administrative {
		if r, ok := lu.endpointMedia(t); ok {
			return r
		}
	}
	if lu.offersAction(t.CDB[0]) {
		return scsi.CheckCondition(scsi.InvalidFieldInCDB(1)) // SPC-4 4.2.5.4: unknown service action
	}
	return scsi.CheckCondition(scsi.InvalidOpCode())
}

// NexusLost implements scsi.LogicalUnit.
func (lu *LogicalUnit) NexusLost(n *scsi.Nexus) {
	lu.mu.Lock()
	aborted := lu.tasks.match(func(t *scsi.Task) bool { return t.Nexus == n })
	lu.reservations.releaseSPC2(n)
	lu.refreshGuard()
	old := *lu.nexuses.Load()
	if old[n] != nil {
		m := make(map[*scsi.Nexus]*nexusState, len(old))
		for k, v := range old {
			if k != n {
				m[k] = v
			}
		}
		lu.nexuses.Store(&m)
	}
	for _, t := range aborted {
		t.Abort(scsi.AbortedSilently)
	}
	lu.left.Broadcast()
	lu.mu.Unlock()
}

// Remove makes the logical unit answer as an absent one and waits for its tasks
// and for a SANITIZE; when ctx ends they are aborted, and waited for.
func (lu *LogicalUnit) Remove(ctx context.Context) error {
	lu.removed.Store(true)
	stop := context.AfterFunc(ctx, func() {
		lu.AbortTasks(func(*scsi.Task) bool { return true })
		lu.sanitize.cancel()
	})
	defer stop()
	lu.mu.Lock()
	for lu.tasks.first != nil {
		lu.left.Wait()
	}
	lu.mu.Unlock()
	if ctx.Err() != nil { // one that began while the tasks were aborted
		lu.sanitize.cancel()
	}
	lu.sanitize.wait()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("device: commands were aborted: %w", err)
	}
	return nil
}

// AbortTasks ends the tasks that f picks with TASK ABORTED. It does not wait for
// them; f is called with a lock held and must not block.
func (lu *LogicalUnit) AbortTasks(f func(*scsi.Task) bool) {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	for _, t := range lu.tasks.match(f) {
		t.Abort(scsi.AbortedWithStatus)
	}
	lu.left.Broadcast()
}

// Close ends what runs beside commands, a SANITIZE, and waits for it; for the end of
// the program, when no command comes any more.
func (lu *LogicalUnit) Close() {
	lu.sanitize.cancel()
	lu.sanitize.wait()
}

// failed answers an error of the medium at lba.
func (lu *LogicalUnit) failed(err error, lba uint64, write bool) scsi.Response {
	status, sense := lu.c.Translate(err, lba, write)
	return scsi.Response{Status: status, Sense: sense}
}

var _ scsi.LogicalUnit = (*LogicalUnit)(nil)
