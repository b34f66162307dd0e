package fault

import (
	"fmt"
	"strconv"
	"strings"

	"vvsim/fault/command"
	"vvsim/fault/grammar"
	"vvsim/fault/loss"
	"vvsim/fault/schedule"
	"vvsim/scsi"
)

// blockLength is the logical block of all logical units, in bytes.
const blockLength = 512

// class of events that op= names.
type class uint8

const (
	anyClass class = iota
	readClass
	writeClass
	mediaClass
	flushClass // of engines
	emptyClass // of engines: writes without data; op=write names them
	freeClass  // of engines: writes that give space back; op=write names them
	opcodeClass
	namedClass // of the provider
)

// operation is what op= names.
type operation struct {
	class class
	code  scsi.OpCode // of opcodeClass
	name  string      // of namedClass
}

func parseOperation(l layer, v string) (operation, error) {
	switch {
	case l == providerLayer:
		return operation{class: namedClass, name: v}, nil
	case v == "read":
		return operation{class: readClass}, nil
	case v == "write":
		return operation{class: writeClass}, nil
	case l == engineLayer && v == "flush":
		return operation{class: flushClass}, nil
	case l == engineLayer:
		return operation{}, fmt.Errorf("%q is none of read, write and flush", v)
	case v == "media":
		return operation{class: mediaClass}, nil
	case v == "any":
		return operation{}, nil
	}
	digits, ok := strings.CutPrefix(v, "0x")
	n, err := strconv.ParseUint(digits, 16, 8)
	if !ok || err != nil {
		return operation{}, fmt.Errorf("%q is none of read, write, media, any and an operation code such as 0x2a", v)
	}
	return operation{class: opcodeClass, code: scsi.OpCode(n)}, nil
}

// covers tells whether o names an operation code.
func (o operation) covers(op scsi.OpCode) bool {
	switch o.class {
	case readClass:
		return command.Reads(op)
	case writeClass:
		return command.Changes(op)
	case mediaClass:
		return command.Reads(op) || command.Changes(op) || command.Looks(op)
	case opcodeClass:
		return op == o.code
	}
	return true
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
		if r.happens() && (r.op.class != anyClass || r.blocks != nil) {
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
		if r.op.covers(o) && (r.blocks == nil || command.NamesBlocks(o)) && r.action.applies([]byte{byte(o)}) {
			return nil
		}
	}
	if r.blocks != nil && r.op.class == opcodeClass && !command.NamesBlocks(r.op.code) {
		return failed(w.At, "a CDB of operation code %#02x names no blocks, as lba= needs", uint8(r.op.code))
	}
	return failed(w.At, "%s does not happen to commands that op= names", w.Text)
}

func (r *Rule) engineFits() bool {
	if r.blocks != nil && r.op.class == flushClass {
		return false
	}
	switch r.action.kind {
	case mediumError:
		return r.blocks == nil || r.op.class == anyClass || r.op.class == readClass
	case noSpace:
		return r.op.class == anyClass || r.op.class == writeClass
	case corrupt:
		return r.op.class != flushClass
	}
	return true
}
