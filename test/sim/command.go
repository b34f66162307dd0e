package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"vvsim/scsi/iscsi/initiator"
	"vvsim/test/oracle"
)

// command is one in flight.
type command struct {
	kind   string
	v      *volume
	host   int
	lba, n uint64
	write  *oracle.Write // of one that changes something
	read   *oracle.Read
	p      []byte // what a read brought
	began  time.Time
	took   time.Duration // until it ended; read after done
	done   chan error
}

// String names a command in the log.
func (c *command) String() string {
	return fmt.Sprintf("%s %s host %d LBA %d+%d", c.kind, c.v.name, c.host, c.lba, c.n)
}

// burst starts some commands, each at a time of its own, when those before it are in the
// array's hands or through.
func (s *run) burst() {
	for range 1 + s.r.IntN(8) {
		v, i, kind := s.volumes[s.r.IntN(len(s.volumes))], s.r.IntN(hosts), s.r.IntN(100)
		n := 1 + s.r.Uint64N(16)
		if s.r.IntN(8) == 0 {
			n = 1 + s.r.Uint64N(longest)
		}
		lba := s.r.Uint64N(volumeSectors - n + 1)
		if s.r.IntN(2) == 0 {
			lba = s.r.Uint64N(64) // where others go too
		}
		if s.r.IntN(2) == 0 { // whole blocks of the engine
			lba, n = lba&^(block-1), (n+block-1)&^(block-1)
		}
		if len(s.pending) >= mostPending {
			continue
		}
		if d := s.disk(v, i); d != nil {
			s.settle()
			s.begin(d, &command{v: v, host: i, lba: lba, n: n, done: make(chan error, 1)}, kind)
			s.settle()
		}
	}
	s.counts["held after a burst"] += len(s.pending)
}

// begin starts one command.
func (s *run) begin(d *disk, c *command, kind int) {
	switch {
	case kind < 35 || c.v.readOnly:
		s.startRead(d, c)
	case kind < 70:
		c.kind = "write"
		if kind >= 65 {
			c.kind = "write FUA"
		}
		s.startWrite(c, oracle.Fresh, func(ctx context.Context, p []byte) error {
			_, err := d.unit.WriteAt(ctx, p, int64(c.lba*oracle.SectorSize), kind >= 65)
			return err
		})
	case kind < 77:
		c.kind = "write same"
		s.startWrite(c, oracle.Same, func(ctx context.Context, p []byte) error {
			return d.unit.WriteSame(ctx, c.lba, uint32(c.n), p[:oracle.SectorSize], false)
		})
	case kind < 84:
		c.kind = "unmap"
		s.startWrite(c, oracle.Zeros, func(ctx context.Context, _ []byte) error {
			return d.unit.Unmap(ctx, initiator.Extent{LBA: c.lba, Blocks: uint32(c.n)})
		})
	case kind < 94:
		s.startCompareAndWrite(d, c)
	default:
		c.kind = "flush"
		s.launch(c, func(ctx context.Context) error { return d.unit.SynchronizeCache(ctx, 0, 0) })
	}
}

func (s *run) startRead(d *disk, c *command) {
	c.kind, c.p = "read", make([]byte, c.n*oracle.SectorSize)
	c.read = s.oracle.BeginRead(c.v.image, c.lba, c.n)
	s.launch(c, func(ctx context.Context) error {
		_, err := d.unit.ReadAt(ctx, c.p, int64(c.lba*oracle.SectorSize))
		return err
	})
}

// startWrite starts what changes something, unless another write is in its way.
func (s *run) startWrite(c *command, what oracle.Content, f func(ctx context.Context, p []byte) error) {
	if c.write = s.oracle.BeginWrite(c.v.image, c.lba, c.n, what); c.write == nil {
		return
	}
	p := stamped(c.write)
	s.launch(c, func(ctx context.Context) error { return f(ctx, p) })
}

func stamped(w *oracle.Write) []byte {
	p := make([]byte, w.N*oracle.SectorSize)
	for i := range w.N {
		w.Stamp(p[i*oracle.SectorSize:][:oracle.SectorSize], i)
	}
	return p
}

// startCompareAndWrite compares with what is there, if that is certain.
func (s *run) startCompareAndWrite(d *disk, c *command) {
	c.kind, c.n = "compare and write", min(c.n, 32)
	if c.write = s.oracle.BeginWrite(c.v.image, c.lba, c.n, oracle.Fresh); c.write == nil {
		return
	}
	compare, p := make([]byte, c.n*oracle.SectorSize), stamped(c.write)
	if !s.oracle.Present(c.write, compare) {
		c.kind = "write"
	}
	s.launch(c, func(ctx context.Context) error {
		if c.kind == "write" {
			_, err := d.unit.WriteAt(ctx, p, int64(c.lba*oracle.SectorSize), false)
			return err
		}
		return d.unit.CompareAndWrite(ctx, c.lba, compare, p)
	})
}

func (s *run) launch(c *command, f func(context.Context) error) {
	s.note("start %v", c)
	s.counts[c.kind]++
	s.pending = append(s.pending, c)
	ctx := s.t.Context()
	c.began = time.Now()
	go func() {
		err := f(ctx)
		c.took = time.Since(c.began)
		c.done <- err
	}()
}

// collect takes the commands that have ended, and has the oracle judge them.
func (s *run) collect() {
	s.pending = slices.DeleteFunc(s.pending, func(c *command) bool {
		select {
		case err := <-c.done:
			s.end(c, err)
			return true
		default:
			return false
		}
	})
}

// plant has what was read lie, if the run is to.
func (s *run) plant(p []byte) {
	if s.lie > 0 && s.steps >= s.lie {
		p[len(p)-1] ^= 1
	}
}

func (s *run) end(c *command, err error) {
	if err != nil {
		s.counts["failed"]++
		s.note("%v: %v, after %v", c, err, c.took)
	} else {
		s.note("%v: good after %v", c, c.took)
	}
	switch {
	case c.read != nil && err != nil:
		s.oracle.DropRead(c.read)
	case c.read != nil:
		s.plant(c.p)
		if err := s.oracle.EndRead(c.read, c.p); err != nil {
			s.note("%v", err)
			s.t.Errorf("%v: %v", c, err)
		}
	case c.write != nil && err != nil && !errors.Is(err, initiator.ErrInvalid):
		s.oracle.Abandon(c.write)
	case c.write != nil:
		s.oracle.EndWrite(c.write)
	}
}
