package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/initiator"
	"vvsim/test/oracle"
)

// Limits of single commands, in sectors.
const (
	longest       = 1 << 20 / oracle.SectorSize   // of a READ or WRITE: one command of initiator.Unit
	longestRepeat = 256 << 10 / oracle.SectorSize // of a WRITE SAME that writes bytes, as one write of the array
	longestZeros  = 4 << 20 / oracle.SectorSize   // of zeros and of UNMAP
	longestAtomic = 64                            // of a COMPARE AND WRITE
	mostExtents   = 3                             // of an UNMAP
	maxTries      = 100                           // draws of a range that no write in flight is in
)

// worker has one command in flight.
type worker struct {
	s    *Soak
	r    *rand.Rand
	host int
	p, q []byte // data of a command
}

func newWorker(s *Soak, number int) *worker {
	return &worker{s: s, r: rand.New(rand.NewPCG(s.c.Seed, uint64(number))), host: number % s.c.Hosts,
		p: make([]byte, longest*oracle.SectorSize), q: make([]byte, longestAtomic*oracle.SectorSize)}
}

// run sends commands until the soak stops.
func (w *worker) run(ctx context.Context) error {
	for {
		select {
		case <-w.s.stop:
			return nil
		case <-ctx.Done():
			return nil // whoever failed tells
		default:
		}
		v := w.s.pick(w.r)
		if v == nil {
			continue
		}
		err := w.step(ctx, v)
		v.use.RUnlock()
		if err != nil {
			return err
		}
	}
}

// forksTaken is how many commands of a hundred go to snapshots and clones.
const forksTaken = 30

// pick draws a volume and locks it for use; nil when the keeper has it.
func (s *Soak) pick(r *rand.Rand) *volume {
	s.mu.RLock()
	defer s.mu.RUnlock()
	from, n := 0, s.c.Volumes
	if forks := len(s.volumes) - n; forks > 0 && r.IntN(100) < forksTaken {
		from, n = n, forks
	}
	v := s.volumes[from+r.IntN(n)]
	if !v.use.TryRLock() {
		return nil
	}
	return v
}

// step is one command.
func (w *worker) step(ctx context.Context, v *volume) error {
	kind := w.r.IntN(100)
	if v.readOnly {
		kind = 0
	}
	lba, n := w.span(v, longest)
	switch {
	case kind < 45:
		return w.read(ctx, v, lba, n)
	case kind < 80:
		return w.write(ctx, v, lba, n, false)
	case kind < 85:
		return w.write(ctx, v, lba, n, true)
	case kind < 90:
		lba, n = w.span(v, longestAtomic)
		return w.compareAndWrite(ctx, v, lba, n)
	case kind < 93:
		lba, n = w.span(v, longestRepeat)
		return w.writeSame(ctx, v, lba, n)
	case kind < 95:
		lba, n = w.wideSpan(v)
		return w.zero(ctx, v, lba, n)
	case kind < 97:
		return w.unmap(ctx, v)
	}
	return w.timed(ctx, func(ctx context.Context) error { return v.units[w.host].SynchronizeCache(ctx, 0, 0) })
}

// span draws a range of at most so many sectors: mostly one block of 4 KiB, rarely
// long; a quarter of all go where others go too.
func (w *worker) span(v *volume, most uint64) (lba, n uint64) {
	const block = blockSize / oracle.SectorSize
	align := uint64(block)
	switch kind := w.r.IntN(100); {
	case kind < 10:
		align, n = 1, 1+w.r.Uint64N(2*block)
	case kind < 75:
		n = block
	case kind < 90:
		n = block * (1 + w.r.Uint64N(16))
	case kind < 98:
		n = block * (1 + w.r.Uint64N(64))
	default:
		n = block * (1 + w.r.Uint64N(longest/block))
	}
	return w.place(v, min(n, most), align)
}

// wideSpan draws a range for what carries no data.
func (w *worker) wideSpan(v *volume) (lba, n uint64) {
	if w.r.IntN(200) > 0 {
		return w.span(v, longestRepeat)
	}
	return w.place(v, 1+w.r.Uint64N(longestZeros), 1)
}

func (w *worker) place(v *volume, n, align uint64) (lba, _ uint64) {
	room := v.image.Sectors() - n
	if w.r.IntN(4) == 0 {
		room = min(room, v.image.Sectors()/16)
	}
	return w.r.Uint64N(room/align+1) * align, n
}

// timed runs a command within commandLimit.
func (w *worker) timed(ctx context.Context, command func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	begun := time.Now()
	err := command(ctx)
	took := int64(time.Since(begun))
	c := &w.s.counts
	c.commands.Add(1)
	for slowest := c.slowest.Load(); took > slowest && !c.slowest.CompareAndSwap(slowest, took); slowest = c.slowest.Load() {
	}
	return err
}

func (w *worker) read(ctx context.Context, v *volume, lba, n uint64) error {
	p := w.p[:n*oracle.SectorSize]
	for i := range p {
		p[i] = 0xee // what the array does not fill in is seen
	}
	r := w.s.oracle.BeginRead(v.image, lba, n)
	err := w.timed(ctx, func(ctx context.Context) error {
		_, err := v.units[w.host].ReadAt(ctx, p, int64(lba*oracle.SectorSize))
		return err
	})
	if err != nil {
		return fmt.Errorf("read of %s: %w", v.id, err)
	}
	w.s.counts.read.Add(n * oracle.SectorSize)
	if err := w.s.oracle.EndRead(r, p); err != nil {
		return fmt.Errorf("%s through host %d: %w", v.id, w.host, err)
	}
	return nil
}

// change runs a command that writes, and tells the oracle.
func (w *worker) change(ctx context.Context, v *volume, writes []*oracle.Write, command func(ctx context.Context, u *initiator.Unit) error) error {
	if err := w.timed(ctx, func(ctx context.Context) error { return command(ctx, v.units[w.host]) }); err != nil {
		return fmt.Errorf("%s through host %d, LBA %d+%d: %w", v.id, w.host, writes[0].LBA, writes[0].N, err)
	}
	for _, x := range writes {
		w.s.oracle.EndWrite(x)
		w.s.counts.written.Add(x.N * oracle.SectorSize)
	}
	return nil
}

// begin announces a write at lba, or elsewhere when another is in the way.
func (w *worker) begin(v *volume, lba, n uint64, what oracle.Content) *oracle.Write {
	for range maxTries {
		if x := w.s.oracle.BeginWrite(v.image, lba, n, what); x != nil {
			return x
		}
		lba, n = w.place(v, n, 1)
	}
	return nil
}

func (w *worker) write(ctx context.Context, v *volume, lba, n uint64, fua bool) error {
	x := w.begin(v, lba, n, oracle.Fresh)
	if x == nil {
		return nil
	}
	p := w.p[:n*oracle.SectorSize]
	for i := range n {
		x.Stamp(p[i*oracle.SectorSize:][:oracle.SectorSize], i)
	}
	return w.change(ctx, v, []*oracle.Write{x}, func(ctx context.Context, u *initiator.Unit) error {
		_, err := u.WriteAt(ctx, p, int64(x.LBA*oracle.SectorSize), fua)
		return err
	})
}

func (w *worker) writeSame(ctx context.Context, v *volume, lba, n uint64) error {
	x := w.begin(v, lba, n, oracle.Same)
	if x == nil {
		return nil
	}
	p := w.p[:oracle.SectorSize]
	x.Stamp(p, 0)
	return w.change(ctx, v, []*oracle.Write{x}, func(ctx context.Context, u *initiator.Unit) error {
		return u.WriteSame(ctx, x.LBA, uint32(n), p, false)
	})
}

func (w *worker) zero(ctx context.Context, v *volume, lba, n uint64) error {
	x := w.begin(v, lba, n, oracle.Zeros)
	if x == nil {
		return nil
	}
	return w.change(ctx, v, []*oracle.Write{x}, func(ctx context.Context, u *initiator.Unit) error {
		return u.WriteSame(ctx, x.LBA, uint32(n), nil, w.r.IntN(2) == 0)
	})
}

// unmap is one UNMAP; each of its extents is a write of its own.
func (w *worker) unmap(ctx context.Context, v *volume) error {
	var writes []*oracle.Write
	var extents []initiator.Extent
	for range 1 + w.r.IntN(mostExtents) {
		lba, n := w.wideSpan(v)
		if x := w.begin(v, lba, n, oracle.Zeros); x != nil {
			writes = append(writes, x)
			extents = append(extents, initiator.Extent{LBA: x.LBA, Blocks: uint32(x.N)})
		}
	}
	if len(writes) == 0 {
		return nil
	}
	return w.change(ctx, v, writes, func(ctx context.Context, u *initiator.Unit) error { return u.Unmap(ctx, extents...) })
}

// compareAndWrite compares with what is there, or, one time in four, with what is not,
// which has to be told and to change nothing.
func (w *worker) compareAndWrite(ctx context.Context, v *volume, lba, n uint64) error {
	wrong, what := w.r.IntN(4) == 0, oracle.Fresh
	if wrong {
		what = oracle.Nothing
	}
	x := w.begin(v, lba, n, what)
	if x == nil {
		return nil
	}
	compare, p := w.q[:n*oracle.SectorSize], w.p[:n*oracle.SectorSize]
	certain := w.s.oracle.Present(x, compare)
	for i := range n {
		x.Stamp(p[i*oracle.SectorSize:][:oracle.SectorSize], i)
	}
	return w.change(ctx, v, []*oracle.Write{x}, func(ctx context.Context, u *initiator.Unit) error {
		switch {
		case wrong && !certain:
			return u.TestUnitReady(ctx)
		case !certain: // it was in flight when it was forked, and nobody has read it yet
			_, err := u.WriteAt(ctx, p, int64(x.LBA*oracle.SectorSize), false)
			return err
		case !wrong:
			return u.CompareAndWrite(ctx, x.LBA, compare, p)
		}
		at := w.r.Uint64N(uint64(len(compare)))
		compare[at] ^= 1
		err := u.CompareAndWrite(ctx, x.LBA, compare, p)
		if s := initiator.SenseOf(err); s == nil || s.Key != scsi.Miscompare || s.Info == nil || *s.Info != at {
			return fmt.Errorf("COMPARE AND WRITE with a wrong byte %d: %w", at, orNone(err))
		}
		return nil
	})
}

var errNone = errors.New("no error")

func orNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}
