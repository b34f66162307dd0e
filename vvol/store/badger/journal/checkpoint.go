package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"vvsim/vvol/store/badger/sum"
)

// Checkpoint is what is known to be on stable storage behind the journal; recovery
// starts from it. It lives in a file of two slots that are written one after the other,
// so that one of them is whole at any time, and a damaged one has a copy.
type Checkpoint struct {
	serial   uint64 // of checkpoints; the slot with the higher one holds
	ID       uint64 // of the journal's file
	Pages    uint64 // its size
	Position uint64 // page of the first group that is not behind the journal yet
	Sequence uint64 // number of that group
	Before   uint64 // epoch of the group before Position: that group's is not lower
	Epoch    uint64 // of the journal's last open
	Records  uint64 // what was made of groups is on stable storage up to this number
	Stable   uint64 // pages of the journal before it are on stable storage
	Closed   uint64 // 1: nothing was appended behind Position
}

const (
	checkpointMagic  = "vvsimcp4"
	checkpointFields = 10
	checkpointLength = len(checkpointMagic) + 8*checkpointFields + 4
	checkpointSlot   = 4096
)

func (c *Checkpoint) fields() [checkpointFields]*uint64 {
	return [...]*uint64{&c.serial, &c.ID, &c.Pages, &c.Position, &c.Sequence, &c.Before, &c.Epoch, &c.Records,
		&c.Stable, &c.Closed}
}

func (c *Checkpoint) encode() []byte {
	b := append(make([]byte, 0, checkpointSlot), checkpointMagic...)
	for _, f := range c.fields() {
		b = binary.BigEndian.AppendUint64(b, *f)
	}
	b = binary.BigEndian.AppendUint32(b, sum.Of(b))
	return b[:checkpointSlot]
}

// decodeCheckpoint reads one slot; ok is false when it was never written, or torn.
func decodeCheckpoint(b []byte) (c Checkpoint, ok bool) {
	if len(b) < checkpointLength || string(b[:len(checkpointMagic)]) != checkpointMagic {
		return c, false
	}
	end := checkpointLength - 4
	if sum.Of(b[:end]) != binary.BigEndian.Uint32(b[end:]) {
		return c, false
	}
	for i, f := range c.fields() {
		*f = binary.BigEndian.Uint64(b[len(checkpointMagic)+8*i:])
	}
	return c, true
}

// Checkpoints is the open file. Used by one goroutine at a time.
type Checkpoints struct {
	f    *os.File
	last Checkpoint
}

// ErrNoCheckpoint is a file, or a directory, without a valid checkpoint.
var ErrNoCheckpoint = errors.New("holds no valid checkpoint")

// CheckpointName is the path of the file in dir.
func CheckpointName(dir string) string { return filepath.Join(dir, "checkpoint") }

// OpenCheckpoints opens or creates the file in dir; fresh tells that it is new.
func OpenCheckpoints(dir string) (c *Checkpoints, fresh bool, err error) {
	f, err := os.OpenFile(CheckpointName(dir), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, err
	}
	c = &Checkpoints{f: f}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	b := make([]byte, 2*checkpointSlot)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	if n == 0 {
		return c, true, nil
	}
	found := false
	for i := range 2 {
		if s, ok := decodeCheckpoint(b[i*checkpointSlot : (i+1)*checkpointSlot]); ok && (!found || s.serial > c.last.serial) {
			c.last, found = s, true
		}
	}
	if !found {
		return nil, false, fmt.Errorf("%s %w", f.Name(), ErrNoCheckpoint)
	}
	return c, false, nil
}

// Last is the checkpoint that was found or saved last.
func (c *Checkpoints) Last() Checkpoint { return c.last }

// Name is the path of the file.
func (c *Checkpoints) Name() string { return c.f.Name() }

// Save writes a checkpoint; both copies are on stable storage when Save returns nil.
// What the checkpoint allows must not be done before: should one copy be damaged, recovery
// starts from the other, which would be the checkpoint before.
func (c *Checkpoints) Save(next Checkpoint) error {
	next.serial = c.last.serial + 1
	for slot := range int64(2) {
		if _, err := c.f.WriteAt(next.encode(), slot*checkpointSlot); err != nil {
			return err
		}
		if err := Datasync(c.f); err != nil {
			return err
		}
	}
	c.last = next
	return nil
}

// Close closes the file.
func (c *Checkpoints) Close() error { return c.f.Close() }
