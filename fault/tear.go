package fault

import (
	"slices"

	"vvsim/fault/command"
	"vvsim/scsi"
	"vvsim/scsi/cdb"
)

// tear writes the first bytes of a WRITE and answers as if it had failed there, or not.
func (t *Target) tear(e *entry, task *scsi.Task) scsi.Response {
	whole := command.Blocks(task.CDB)
	if n := e.action.n; n > 0 {
		if r := t.writeFirst(task, whole, n); r.Status != scsi.StatusGood {
			return r
		}
	}
	switch {
	case e.action.kind == short:
		return scsi.Response{TransferLength: uint64(e.action.n)}
	case e.action.silent:
		return scsi.Response{TransferLength: uint64(whole.Blocks) * blockLength}
	}
	return scsi.CheckCondition(scsi.WriteError(whole.LBA + uint64(e.action.n/blockLength)))
}

// writeFirst has the unit behind write n bytes of the data, with the rest of their last
// block as it is on the medium.
func (t *Target) writeFirst(task *scsi.Task, part cdb.Block, n int) scsi.Response {
	part.Blocks = uint32((n + blockLength - 1) / blockLength)
	command, data, expected := task.CDB, task.DataOut, task.ExpectedOut
	out := data[:min(int(part.Blocks)*blockLength, len(data))]
	if in := n % blockLength; in > 0 && n < len(out) {
		r := t.present(task, part.LBA+uint64(n/blockLength))
		if r.Status != scsi.StatusGood {
			return r
		}
		out = slices.Clone(out)
		copy(out[n:], r.DataIn.Bytes()[in:])
		r.DataIn.Release()
	}
	defer func() { task.CDB, task.DataOut, task.ExpectedOut = command, data, expected }()
	task.CDB, task.DataOut, task.ExpectedOut = make([]byte, len(command)), out, part.Blocks*blockLength
	part.AppendTo(task.CDB[:0])
	return t.Target.Execute(task)
}

// present reads one block as a command of its own, which waits for no other: the task that
// it is read for may be one that all others wait for.
func (t *Target) present(task *scsi.Task, lba uint64) scsi.Response {
	c := cdb.Block{Op: scsi.OpRead16, LBA: lba, Blocks: 1}
	read := &scsi.Task{Nexus: task.Nexus, LUN: task.LUN, Attribute: scsi.HeadOfQueue, CDB: c.AppendTo(nil), ExpectedIn: blockLength}
	t.Target.Prepare(read)
	r := t.Target.Execute(read)
	read.Complete()
	return r
}
