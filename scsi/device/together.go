package device

import (
	"context"

	"vvsim/scsi"
	"vvsim/scsi/cdb"
)

// together are the WRITEs of several tasks, to go to the medium at once.
type together struct {
	writes []Write
	tasks  []int // whose they are: indices in the tasks of ExecuteAll
	fua    bool
}

// ExecuteAll executes tasks side by side, as scsi.Target says: WRITEs that Join in one
// call of the medium, on stable storage if one of them asks for it, others one by one.
func (lu *LogicalUnit) ExecuteAll(tasks []*scsi.Task, answers []scsi.Response) {
	defer lu.leave(tasks...)
	g := &together{writes: make([]Write, 0, len(tasks)), tasks: make([]int, 0, len(tasks))}
	for i, t := range tasks {
		answers[i] = lu.formatted(lu.begin(t, i, g))
	}
	if len(g.writes) == 0 {
		return
	}
	if !lu.writeAll(g) {
		for _, i := range g.tasks {
			answers[i] = lu.formatted(scsi.CheckCondition(scsi.InternalTargetFailure()))
		}
		return
	}
	for k := range g.writes {
		if w := &g.writes[k]; w.Err != nil {
			answers[g.tasks[k]] = lu.formatted(lu.failed(w.Err, w.Offset/BlockLength, true))
		}
	}
}

// begin executes a task up to where its data goes to the medium with that of others; the
// answer is what it ends with when that succeeds.
func (lu *LogicalUnit) begin(t *scsi.Task, i int, g *together) (r scsi.Response) {
	defer func() {
		if lu.rescue(recover()) {
			r = scsi.CheckCondition(scsi.InternalTargetFailure())
		}
	}()
	if status := lu.awaitTurn(t); status != scsi.StatusGood {
		return scsi.Response{Status: status}
	}
	cmd, r := lu.check(t)
	switch {
	case cmd == nil:
		return r
	case !t.Joins:
		return cmd.run(lu, t)
	}
	var c cdb.Block
	c.Parse(t.CDB)
	if s := lu.transfer(&c); s != nil {
		return fail(*s)
	}
	if s := lu.writable(); s != nil {
		return fail(*s)
	}
	if p := wholeBlocks(t); len(p) > 0 {
		g.writes = append(g.writes, Write{Data: p, Offset: c.LBA * BlockLength})
		g.tasks = append(g.tasks, i)
		g.fua = g.fua || lu.stable(t.CDB)
	}
	return scsi.Response{TransferLength: uint64(c.Blocks) * BlockLength}
}

// writeAll hands the writes to the medium; false when that panics. No context of a task
// holds for all of them: those that were aborted before have left.
func (lu *LogicalUnit) writeAll(g *together) (done bool) {
	defer func() { done = !lu.rescue(recover()) }()
	lu.c.Medium.WriteAll(context.Background(), g.writes, g.fua)
	return true
}
