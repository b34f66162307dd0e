package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/gostor/gotgt/pkg/api"
	"github.com/gostor/gotgt/pkg/scsi"

	"vvsim/vvol/store"
)

// backing is gotgt's view of one open volume. gotgt calls it from the goroutine of
// each connection.
type backing struct {
	scsi.BaseBackingStore
	object   store.Object
	transfer int // bytes of one call of the engine
	// readDelay makes each read last, and reads are counted while they run: what a
	// test needs to see how many commands gotgt has in the device at once.
	readDelay     time.Duration
	running, peak atomic.Int64
}

func (b *backing) Open(*api.SCSILu, string) error { return nil }
func (b *backing) Close(*api.SCSILu) error        { return nil }
func (b *backing) Init(*api.SCSILu, string) error { return nil }
func (b *backing) Exit(*api.SCSILu) error         { return nil }
func (b *backing) Size(*api.SCSILu) uint64        { return b.object.Size() }

// Read returns n bytes at offset in a new slice, as gotgt's interface wants it.
func (b *backing) Read(offset, n int64) ([]byte, error) {
	if now := b.running.Add(1); now > b.peak.Load() {
		b.peak.Store(now)
		fmt.Fprintf(os.Stderr, "reads in flight: %d\n", now)
	}
	defer b.running.Add(-1)
	time.Sleep(b.readDelay)
	p := make([]byte, n)
	return p, b.pieces(p, offset, b.object.ReadAt)
}

func (b *backing) Write(p []byte, offset int64) error {
	return b.pieces(p, offset, func(ctx context.Context, p []byte, off uint64) error {
		return b.object.WriteAt(ctx, p, off, store.WriteOptions{})
	})
}

// pieces cuts a transfer, which gotgt does not bound, to the engine's size.
func (b *backing) pieces(p []byte, offset int64, do func(context.Context, []byte, uint64) error) error {
	for len(p) > 0 {
		n := min(len(p), b.transfer)
		if err := do(context.Background(), p[:n], uint64(offset)); err != nil {
			return err
		}
		p, offset = p[n:], offset+int64(n)
	}
	return nil
}

func (b *backing) DataSync(int64, int64) error           { return b.object.Flush(context.Background()) }
func (b *backing) DataAdvise(int64, int64, uint32) error { return nil }

// Unmap takes what UNMAP names, in bytes.
func (b *backing) Unmap(ranges []api.UnmapBlockDescriptor) error {
	for _, r := range ranges {
		if err := b.object.Unmap(context.Background(), r.Offset, uint64(r.TL), store.WriteOptions{}); err != nil {
			return err
		}
	}
	return nil
}
