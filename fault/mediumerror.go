package fault

import (
	"fmt"

	"vvsim/fault/command"
	"vvsim/scsi"
)

// maxBadBlocks bounds the blocks of one medium-error rule: it remembers of each whether it
// has been written since.
const maxBadBlocks = 1 << 20

// checkBad refuses a medium-error rule that would have to remember too much, or of
// several volumes.
func (r *Rule) checkBad() error {
	switch b := r.blocks; {
	case b == nil:
		return fmt.Errorf("medium-error of lu needs lba=, the blocks that can't be read")
	case r.vvol == "":
		return fmt.Errorf("medium-error with lba= needs vvol=, as each volume is written by itself")
	case b.Last-b.First >= maxBadBlocks:
		return fmt.Errorf("medium-error has at most %d blocks", maxBadBlocks)
	}
	return nil
}

// meetsBad tells whether a medium-error rule takes a command: one that rewrites bad
// blocks heals them, and does not count; one that reads them fails.
func (t *Target) meetsBad(e *entry, b []byte) (*broken, bool) {
	lba, n := command.Range(b)
	bad, ok := e.bad.First(lba, n)
	if !ok {
		return nil, false
	}
	if command.Rewrites(scsi.OpCode(b[0])) {
		return &broken{rule: e}, true
	}
	return &broken{rule: e, lba: bad}, t.i.strike(e)
}

// rewrite executes a command that rewrites bad blocks.
func (t *Target) rewrite(e *entry, task *scsi.Task) scsi.Response {
	r := t.Target.Execute(task)
	if r.Status == scsi.StatusGood && !task.Aborted() {
		e.bad.Heal(command.Range(task.CDB))
	}
	return r
}
