package fault

import (
	"vvsim/fault/command"
	"vvsim/fault/grammar"
	"vvsim/scsi"
)

// wire is a transport, as the owner of a task, that can send the task's answer wrongly.
type wire interface {
	// Digests tells which digests protect what goes to the initiator.
	Digests() (header, data bool)
	// Distort has the answer of a task that is being executed end with a PDU that is sent
	// twice, or begin with a header, or with data, that do not agree with their digest.
	Distort(t *scsi.Task, twice, header, data bool)
}

// meets tells whether the action can happen to this very task.
func (a *action) meets(task *scsi.Task) bool {
	switch a.kind {
	case duplicate, digest:
		w, ok := task.Owner.(wire)
		if !ok || a.kind == duplicate {
			return ok
		}
		header, data := w.Digests()
		return a.header && header || !a.header && data && task.ExpectedIn > 0
	case residual:
		n := task.ExpectedIn + task.ExpectedOut
		return n > 0 && (a.over || uint64(a.n) <= uint64(n))
	}
	return true
}

// distort executes a task whose answer goes wrong on its way.
func (t *Target) distort(e *entry, task *scsi.Task) scsi.Response {
	a := &e.action
	if w, ok := task.Owner.(wire); ok {
		w.Distort(task, a.kind == duplicate, a.kind == digest && a.header, a.kind == digest && !a.header)
	}
	return t.Target.Execute(task)
}

// count executes a task and answers another number of bytes than it has moved.
func (t *Target) count(e *entry, task *scsi.Task) scsi.Response {
	a := &e.action
	if a.kind == short && command.Stores(scsi.OpCode(task.CDB[0])) {
		return t.tear(e, task)
	}
	r := t.Target.Execute(task)
	switch {
	case r.Status != scsi.StatusGood:
	case a.kind == short && r.DataIn != nil:
		r.DataIn.Truncate(min(r.DataIn.Len(), a.n))
		r.TransferLength = uint64(a.n)
	case a.kind == residual && a.over:
		r.TransferLength = uint64(task.ExpectedIn+task.ExpectedOut) + uint64(a.n)
	case a.kind == residual:
		r.TransferLength = uint64(task.ExpectedIn+task.ExpectedOut) - uint64(a.n)
	}
	return r
}

// parseBytes takes a number of bytes.
func (a *action) parseBytes(args []string) error {
	text, err := a.single(args)
	if err != nil {
		return err
	}
	n, err := grammar.Number(text, 0, maxTorn)
	a.n = int(n)
	return err
}

// parseResidual takes the count of an underflow, or of an overflow.
func (a *action) parseResidual(args []string) error {
	if len(args) == 2 && args[1] == "over" {
		a.over, args = true, args[:1]
	}
	return a.parseBytes(args)
}
