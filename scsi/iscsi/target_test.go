package iscsi

import (
	"context"
	"encoding/binary"
	"sync"

	"vvsim/scsi"
)

// Vendor specific operation codes of the fake target.
const (
	opHang  = 0xc1 // runs until aborted or let go
	opPanic = 0xc2
)

const testBlock = 512

// disk is a target with memory behind every LUN in lun; small, but with a real
// task set, so that task management and aborts are the ones a device does.
type disk struct {
	mu       sync.Mutex
	changed  sync.Cond
	memory   []byte
	tasks    map[*scsi.Task]bool // true: in Execute
	lost     []*scsi.Nexus
	nexuses  int
	letGo    bool
	writes   int
	together int // the most at once
	luns     map[scsi.LUN]bool
	refuse   error
}

func newDisk(size int) *disk {
	d := &disk{memory: make([]byte, size), tasks: map[*scsi.Task]bool{}, luns: map[scsi.LUN]bool{{}: true, {1, 0}: true}}
	d.changed.L = &d.mu
	return d
}

func (d *disk) extent(cdb []byte) (offset, length int) {
	return int(binary.BigEndian.Uint32(cdb[2:])) * testBlock, int(binary.BigEndian.Uint16(cdb[7:])) * testBlock
}

func (d *disk) Prepare(t *scsi.Task) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tasks[t] = false
	t.Prompt = t.Tag%2 == 0 // wrong for those that hang
	t.Joins = t.CDB[0] == 0x2a && t.Tag%3 > 0
	if !d.luns[t.LUN] || t.CDB[0] != 0x2a {
		return 0
	}
	if offset, length := d.extent(t.CDB); offset+length <= len(d.memory) {
		return length
	}
	return 0
}

func (d *disk) Execute(t *scsi.Task) scsi.Response {
	d.mu.Lock()
	if running, ok := d.tasks[t]; !ok || running {
		panic("a task was executed without Prepare or twice")
	}
	d.tasks[t] = true
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.tasks, t)
		d.changed.Broadcast()
		d.mu.Unlock()
	}()
	if t.Aborted() {
		return scsi.Good()
	}
	if !d.luns[t.LUN] {
		return scsi.CheckCondition(scsi.UnsupportedLUN())
	}
	offset, length := 0, 0
	switch t.CDB[0] {
	case 0x28, 0x2a:
		if offset, length = d.extent(t.CDB); offset+length > len(d.memory) {
			return scsi.CheckCondition(scsi.LBAOutOfRange(uint64(offset / testBlock)))
		}
	}
	switch t.CDB[0] {
	case 0x00:
		return scsi.Good()
	case 0x28:
		d.mu.Lock()
		defer d.mu.Unlock()
		return scsi.Response{DataIn: scsi.BufferOf(d.memory[offset : offset+min(length, int(t.ExpectedIn))]), TransferLength: uint64(length)}
	case 0x2a:
		d.mu.Lock()
		d.writes++
		copy(d.memory[offset:], t.DataOut)
		d.mu.Unlock()
		return scsi.Response{TransferLength: uint64(length)}
	case opHang:
		d.hang(t)
		return scsi.Good()
	case opPanic:
		panic("asked for")
	}
	return scsi.CheckCondition(scsi.InvalidOpCode())
}

func (d *disk) ExecuteAll(tasks []*scsi.Task, answers []scsi.Response) {
	d.mu.Lock()
	d.together = max(d.together, len(tasks))
	d.mu.Unlock()
	for i, t := range tasks {
		answers[i] = d.Execute(t)
	}
}

func (d *disk) hang(t *scsi.Task) {
	stop := context.AfterFunc(t.Context(), func() {
		d.mu.Lock()
		d.changed.Broadcast()
		d.mu.Unlock()
	})
	defer stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.changed.Broadcast()
	for !t.Aborted() && !d.letGo {
		d.changed.Wait()
	}
}

// release lets the commands that hang end well.
func (d *disk) release() {
	d.mu.Lock()
	d.letGo = true
	d.changed.Broadcast()
	d.mu.Unlock()
}

func (d *disk) Manage(_ context.Context, m scsi.TaskManagement) scsi.ManagementResponse {
	all := m.Function >= scsi.TargetWarmReset && m.Function != scsi.QueryTask
	if !all && !d.luns[m.LUN] {
		return scsi.LUNDoesNotExist
	}
	hit := func(t *scsi.Task) bool {
		switch m.Function {
		case scsi.AbortTask:
			return t.Nexus == m.Nexus && t.LUN == m.LUN && t.Tag == m.Referenced
		case scsi.AbortTaskSet:
			return t.Nexus == m.Nexus && t.LUN == m.LUN
		case scsi.LogicalUnitReset, scsi.ClearTaskSet:
			return t.LUN == m.LUN
		}
		return all
	}
	d.abort(hit)
	d.mu.Lock()
	defer d.mu.Unlock()
	for left := true; left; {
		left = false
		for t := range d.tasks {
			left = left || hit(t)
		}
		if left {
			d.changed.Wait()
		}
	}
	return scsi.FunctionComplete
}

func (d *disk) abort(hit func(*scsi.Task) bool) {
	d.mu.Lock()
	var victims []*scsi.Task
	for t := range d.tasks {
		if hit(t) {
			victims = append(victims, t)
		}
	}
	for _, t := range victims {
		// Abort calls back into the transport only; the context's callbacks run elsewhere.
		t.Abort(scsi.AbortedSilently)
	}
	d.changed.Broadcast()
	d.mu.Unlock()
}

func (d *disk) NexusLost(n *scsi.Nexus) {
	d.abort(func(t *scsi.Task) bool { return t.Nexus == n })
	d.mu.Lock()
	d.lost = append(d.lost, n)
	d.mu.Unlock()
}

func (d *disk) NexusEstablished(*scsi.Nexus) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.nexuses++
	return d.refuse
}

// waitRunning waits until n tasks are in Execute.
func (d *disk) waitRunning(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		running := 0
		for _, in := range d.tasks {
			if in {
				running++
			}
		}
		if running >= n {
			return
		}
		d.changed.Wait()
	}
}

func (d *disk) taskCount() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.tasks)
}
