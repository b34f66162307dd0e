package pe

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vvsim/scsi"
	"vvsim/scsi/device"
	"vvsim/vvol"
	"vvsim/vvol/store"
	"vvsim/vvol/store/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gated is an engine whose reads at or above slowOffset, and whose opening of one
// volume, wait until they are let go. A read whose context ends waits no longer.
type gated struct {
	*mem.Engine
	reads   chan struct{} // closed: reads go on
	reading chan struct{} // one value per read that waits
	opens   chan struct{} // closed: Open goes on
	opening chan struct{}
	slow    atomic.Pointer[store.ID] // the volume that opens slowly
	changes atomic.Uint64            // of the medium, and how many were not stable when they returned
	loose   atomic.Int64
	once    sync.Once
}

// Limits are those of an engine whose writes are cached.
func (g *gated) Limits() store.Limits {
	l := g.Engine.Limits()
	l.Sync = false
	return l
}

// letGo lets everything that waits go on.
func (g *gated) letGo() { g.once.Do(func() { close(g.reads); close(g.opens) }) }

const slowOffset = 1 << 20

func (g *gated) Open(ctx context.Context, id store.ID) (store.Object, error) {
	if s := g.slow.Load(); s != nil && *s == id {
		g.opening <- struct{}{}
		<-g.opens
	}
	o, err := g.Engine.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	return gatedObject{o, g}, nil
}

type gatedObject struct {
	store.Object
	g *gated
}

// changed counts a change of the medium.
func (o gatedObject) changed(w store.WriteOptions) {
	o.g.changes.Add(1)
	if !w.FUA {
		o.g.loose.Add(1)
	}
}

func (o gatedObject) WriteAt(ctx context.Context, p []byte, off uint64, w store.WriteOptions) error {
	o.changed(w)
	return o.Object.WriteAt(ctx, p, off, w)
}

func (o gatedObject) WriteAll(ctx context.Context, writes []store.Write, w store.WriteOptions) {
	o.changed(w)
	o.Object.WriteAll(ctx, writes, w)
}

func (o gatedObject) CompareAndWrite(ctx context.Context, compare, data []byte, off uint64, w store.WriteOptions) error {
	o.changed(w)
	return o.Object.CompareAndWrite(ctx, compare, data, off, w)
}

func (o gatedObject) Zero(ctx context.Context, off, n uint64, w store.WriteOptions) error {
	o.changed(w)
	return o.Object.Zero(ctx, off, n, w)
}

func (o gatedObject) Unmap(ctx context.Context, off, n uint64, w store.WriteOptions) error {
	o.changed(w)
	return o.Object.Unmap(ctx, off, n, w)
}

func (o gatedObject) CopyFrom(ctx context.Context, off uint64, src store.Object, srcOff, n uint64) error {
	o.changed(store.WriteOptions{})
	return o.Object.CopyFrom(ctx, off, src.(gatedObject).Object, srcOff, n)
}

func (o gatedObject) Flush(ctx context.Context) error {
	o.g.loose.Store(0)
	return o.Object.Flush(ctx)
}

func (o gatedObject) ReadAt(ctx context.Context, p []byte, off uint64) error {
	if off >= slowOffset {
		o.g.reading <- struct{}{}
		select {
		case <-o.g.reads:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return o.Object.ReadAt(ctx, p, off)
}

// rig is a Target with a catalog over a gated engine.
type rig struct {
	t       testing.TB
	engine  *gated
	target  *Target
	service *vvol.Service
	knobs   atomic.Pointer[device.Knobs]
}

var peAddress = scsi.LUN{1, 0}

func newRig(t testing.TB, drain time.Duration) *rig {
	r := &rig{t: t, engine: &gated{Engine: mem.New(), reads: make(chan struct{}), reading: make(chan struct{}, 100),
		opens: make(chan struct{}), opening: make(chan struct{}, 1)}}
	r.setKnobs(func(*device.Knobs) {})
	var err error
	r.target, err = New(Options{Engine: r.engine, ArrayID: 7, TargetName: "iqn.2026-01.test:array", Portals: 2,
		Endpoints: []Endpoint{{Name: "pe0", LUN: 256}}, Knobs: func() device.Knobs { return *r.knobs.Load() }, DrainTimeout: drain})
	require.NoError(t, err)
	r.service, err = vvol.Open(t.Context(), vvol.Options{Engine: r.engine, Endpoints: r.target})
	require.NoError(t, err)
	require.NoError(t, r.service.EnsureDefaults(t.Context()))
	require.NoError(t, r.service.Start(t.Context()))
	t.Cleanup(func() {
		r.engine.letGo()
		require.NoError(t, r.service.Close())
		require.NoError(t, r.engine.Close())
	})
	return r
}

func (r *rig) setKnobs(edit func(*device.Knobs)) {
	k := device.DefaultKnobs()
	edit(&k)
	r.knobs.Store(&k)
}

func (r *rig) create(name string) vvol.VirtualVolume {
	r.t.Helper()
	v, err := r.service.Create(r.t.Context(), vvol.CreateSpec{Container: "default", Size: 4 << 20, Name: name})
	require.NoError(r.t, err)
	return v
}

func iqn(host string) string { return "iqn.2026-01.test:" + host }

// await receives what has to come.
func await[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// bind returns the LUN by which the host reaches the volume.
func (r *rig) bind(v vvol.VirtualVolume, host string) scsi.LUN {
	r.t.Helper()
	b, err := r.service.Bind(r.t.Context(), v.ID, iqn(host))
	require.NoError(r.t, err)
	return scsi.SubsidiaryLUN(peAddress, b.Secondary)
}

func (r *rig) unbind(v vvol.VirtualVolume, host string) {
	r.t.Helper()
	require.NoError(r.t, r.service.Unbind(r.t.Context(), v.ID, iqn(host)))
}

// session is a nexus of a host.
type session struct {
	r   *rig
	n   *scsi.Nexus
	tag atomic.Uint32
}

func (r *rig) login(host string, isid byte) *session {
	s := &session{r: r, n: &scsi.Nexus{NexusID: scsi.NexusID{Initiator: iqn(host), ISID: [6]byte{isid}, TargetPort: 1}}}
	require.NoError(r.t, r.target.NexusEstablished(s.n))
	return s
}

func (s *session) logout() { s.r.target.NexusLost(s.n) }

// begin prepares a command and runs it beside the caller; the outcome follows.
func (s *session) begin(lun scsi.LUN, cdb ...byte) <-chan outcome {
	t := s.task(lun, cdb)
	s.r.target.Prepare(t)
	done := make(chan outcome, 1)
	go func() { done <- s.finish(t) }()
	return done
}

type outcome struct {
	scsi.Response
	disposition scsi.Disposition
	data        []byte
}

func (s *session) task(lun scsi.LUN, cdb []byte) *scsi.Task {
	return &scsi.Task{Nexus: s.n, LUN: lun, Tag: s.tag.Add(1), Attribute: scsi.Simple, CDB: append(cdb, make([]byte, 16-len(cdb))...), ExpectedIn: 1 << 20}
}

func (s *session) finish(t *scsi.Task) outcome {
	o := outcome{Response: s.r.target.Execute(t)}
	o.disposition = t.Complete()
	o.data = append(o.data, o.DataIn.Bytes()...)
	o.DataIn.Release()
	return o
}

// run executes a command and returns its outcome.
func (s *session) run(lun scsi.LUN, cdb ...byte) outcome {
	t := s.task(lun, cdb)
	s.r.target.Prepare(t)
	return s.finish(t)
}

// sense is how a command ended: "good", a status, or key/ASC/ASCQ.
func (o outcome) String() string {
	switch {
	case o.disposition == scsi.AbortedWithStatus:
		return "TASK ABORTED"
	case o.disposition == scsi.AbortedSilently:
		return "silence"
	case o.Status == scsi.StatusGood:
		return "good"
	case o.Sense == nil:
		return fmt.Sprintf("status %02x", byte(o.Status))
	}
	return fmt.Sprintf("%x/%v", uint8(o.Sense.Key), o.Sense.Code)
}

func (s *session) ready(lun scsi.LUN) string { return s.run(lun, 0).String() }

// settle takes the POWER ON of logical units that the session has not spoken to.
func (s *session) settle(luns ...scsi.LUN) {
	s.r.t.Helper()
	for _, l := range luns {
		require.Equal(s.r.t, "6/29/00", s.ready(l))
		require.Equal(s.r.t, "good", s.ready(l))
	}
}

// luns is the list of REPORT LUNS.
func (s *session) luns(lun scsi.LUN, selectReport byte) (all []string) {
	s.r.t.Helper()
	o := s.run(lun, 0xa0, 0, selectReport, 0, 0, 0, 0, 1, 0, 0)
	require.Equal(s.r.t, "good", o.String())
	require.GreaterOrEqual(s.r.t, len(o.data), 8)
	for b := o.data[8:]; len(b) > 0; b = b[8:] {
		all = append(all, scsi.LUN(b[:8]).String())
	}
	return all
}

func (s *session) manage(f scsi.TaskFunction, lun scsi.LUN, tag uint32) scsi.ManagementResponse {
	return s.r.target.Manage(context.Background(), scsi.TaskManagement{Function: f, Nexus: s.n, LUN: lun, Referenced: tag})
}

// readSlow is READ(10) of one block that the gate holds, read of one that it does not.
var (
	readSlow = []byte{0x28, 0, 0, 0, slowOffset >> 9 >> 8, 0, 0, 0, 1, 0}
	read     = []byte{0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0}
)
