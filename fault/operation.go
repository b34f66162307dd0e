package fault

import (
	"vvsim/fault/command"
	"vvsim/fault/grammar"
	"vvsim/fault/loss"
	"vvsim/fault/schedule"
	"vvsim/scsi"
)

// blockLength is the logical block of all logical units, in bytes.
const blockLength = 512

func parseOperation(l layer, v string) (command.Operation, error) {
	switch l {
	case providerLayer:
		return command.Operation{Class: command.Named, Name: v}, nil
	case engineLayer:
		return command.ParseAccess(v)
	}
	return command.ParseOperation(v)
}

// applies tells whether the action can happen to a command.
func (a *action) applies(b []byte) bool {
	op := scsi.OpCode(b[0])
	switch a.kind {
	case pdl:
		return loss.Meets(a.sense, op)
	case alua:
		return a.bars(b)
	case attention, reservationLost:
		return false // they happen, and answer nothing
	case miscompare:
		return op == scsi.OpCompareAndWrite
	case mediumError:
		return command.Fetches(op) || command.Rewrites(op)
	case reservationConflict:
		return !command.AnsweredAlways(b) && op != scsi.OpPersistentReserveIn
	case corrupt:
		return (command.Reads(op) || command.Carries(op)) && a.reaches(b)
	case torn:
		return command.Stores(op) && a.reaches(b)
	case short:
		return (command.Reads(op) || command.Stores(op) && a.n%blockLength == 0) && a.reaches(b)
	case noSpace:
		return command.Changes(op) && op != scsi.OpUnmap && op != scsi.OpSanitize
	}
	return true
}

// reaches tells whether a command moves more than n bytes, where n is a place in its
// data; a CDB of nothing but an operation code stands for all.
func (a *action) reaches(b []byte) bool {
	if len(b) == 1 || a.kind == corrupt && !a.one {
		return true
	}
	c := command.Blocks(b)
	blocks := uint64(c.Blocks)
	if c.Op == scsi.OpWriteSame10 || c.Op == scsi.OpWriteSame16 {
		blocks = 1
	}
	return uint64(a.n) < blocks*blockLength
}

// fits refuses a rule whose action can happen to nothing that its op= and lba= name.
func (r *Rule) fits(w grammar.Word) error {
	switch r.layer {
	case engineLayer:
		if !r.engineFits() {
			return failed(w.At, "%s does not happen to what op= names", w.Text)
		}
	case providerLayer:
		if err := r.providerFits(); err != nil {
			return failed(w.At, "%s: %v", w.Text, err)
		}
	case unitLayer:
		if r.happens() && (r.op.Class != command.Any || r.blocks != nil) {
			return failed(w.At, "%s is no answer to a command: it has neither op= nor lba=", w.Text)
		}
	}
	if r.action.kind == mediumError && (r.layer == unitLayer || r.blocks != nil) {
		if err := r.checkBad(); err != nil {
			return failed(w.At, "%v", err)
		}
	}
	if r.layer != unitLayer {
		return nil
	}
	if r.tells() {
		if r.Each > 0 && r.Each < schedule.MinTell {
			return failed(w.At, "%s tells hosts when it comes: each= is at least %v", w.Text, schedule.MinTell)
		}
		return nil
	}
	for op := range 256 {
		o := scsi.OpCode(op)
		if r.op.Covers(o) && (r.blocks == nil || command.NamesBlocks(o)) && r.action.applies([]byte{byte(o)}) {
			return nil
		}
	}
	if r.blocks != nil && r.op.Class == command.Code && !command.NamesBlocks(r.op.Code) {
		return failed(w.At, "a CDB of operation code %#02x names no blocks, as lba= needs", uint8(r.op.Code))
	}
	return failed(w.At, "%s does not happen to commands that op= names", w.Text)
}

func (r *Rule) engineFits() bool {
	if r.blocks != nil && r.op.Class == command.Flush {
		return false
	}
	switch r.action.kind {
	case mediumError:
		return r.blocks == nil || r.op.Class == command.Any || r.op.Class == command.Read
	case noSpace:
		return r.op.Class == command.Any || r.op.Class == command.Write
	case corrupt:
		return r.op.Class != command.Flush
	}
	return true
}
