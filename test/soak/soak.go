package soak

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"vvsim/api"
	"vvsim/scsi"
	"vvsim/scsi/iscsi/initiator"
	"vvsim/test/oracle"
)

// Array is one under test.
type Array struct {
	API     *api.Client
	Portals []string
	IQN     string // of its target
	PID     int    // whose memory is looked at
	Data    string // directory
}

// Scale is how much there is of everything.
type Scale struct {
	Volumes int           // that live from the beginning to the end
	Size    uint64        // bytes of each
	Forks   int           // snapshots and clones at a time, at most
	Hosts   int           // each with one session
	Workers int           // commands in flight
	Pause   time.Duration // between two changes through the API, on average
	Seed    uint64
}

// Soak is one run. Its methods are called one after the other; each waits for what it
// has started.
type Soak struct {
	c       Scale
	a       Array
	oracle  *oracle.Oracle
	hosts   []*initiator.Session
	stop    chan struct{} // closed when no command is to begin any more
	counts  counters
	mu      sync.RWMutex // guards volumes
	volumes []*volume    // those that stay come first
	keeper  keeper
}

type counters struct {
	commands, read, written           atomic.Uint64 // bytes of the latter
	snapshots, clones, reverts, drops atomic.Uint64
	refused                           atomic.Uint64 // forks of chains that were too deep
	verified                          atomic.Uint64 // bytes, of reads of whole volumes
	slowest                           atomic.Int64  // command since it was looked at, in ns
}

// volume is one that hosts use. use is held for reading by those who do, and for writing
// by the keeper when it reverts or deletes it.
type volume struct {
	use      sync.RWMutex
	id       string
	image    *oracle.Image
	readOnly bool
	of       string            // id of the volume that a snapshot was taken of
	units    []*initiator.Unit // by host
}

// commandLimit is how long a command may take, or a request to the API, before it counts as lost.
const commandLimit = time.Minute

// New logs the hosts in.
func New(ctx context.Context, c Scale, a Array) (*Soak, error) {
	s := &Soak{c: c, oracle: oracle.New(), stop: make(chan struct{})}
	s.keeper.init(s)
	err := s.connect(ctx, a)
	return s, err
}

func (s *Soak) connect(ctx context.Context, a Array) error {
	s.a, s.hosts = a, nil
	for i := range s.c.Hosts {
		session, err := initiator.Dial(ctx, initiator.Options{Address: a.Portals[i%len(a.Portals)], TargetName: a.IQN, InitiatorName: hostName(i)})
		if err != nil {
			return err
		}
		s.hosts = append(s.hosts, session)
	}
	return nil
}

func hostName(i int) string { return fmt.Sprintf("iqn.1998-01.com.vmware:soak%d", i) }

// Disconnect ends the sessions, for good or before Reconnect.
func (s *Soak) Disconnect() {
	for _, h := range s.hosts {
		_ = h.Close() // drops the connection
	}
	s.a.API.HTTP.CloseIdleConnections()
}

// Reconnect goes on with the same volumes after the array has been started again.
func (s *Soak) Reconnect(ctx context.Context, a Array) error {
	if err := s.connect(ctx, a); err != nil {
		return err
	}
	for _, v := range s.volumes {
		if err := s.bind(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

// Fill makes the volumes that stay and writes each of them from end to end.
func (s *Soak) Fill(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for i := range s.c.Volumes {
		v, err := s.create(ctx, fmt.Sprint("disk", i))
		if err != nil {
			return errors.Join(err, group.Wait())
		}
		group.Go(func() error {
			w := newWorker(s, i)
			for lba := uint64(0); lba < v.image.Sectors(); lba += longest {
				if err := w.write(ctx, v, lba, min(longest, v.image.Sectors()-lba), false); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// Run puts the load on the array for so long, and tells each sample as it is taken.
// It ends before its time with the first error.
func (s *Soak) Run(ctx context.Context, d time.Duration, tell func(Sample)) error {
	group, ctx := errgroup.WithContext(ctx)
	for i := range s.c.Workers {
		group.Go(func() error { return newWorker(s, i).run(ctx) })
	}
	group.Go(func() error { return s.keeper.run(ctx) })
	group.Go(func() error {
		defer close(s.stop)
		return s.watch(ctx, d, tell)
	})
	return group.Wait()
}

// Verify reads all volumes from end to end.
func (s *Soak) Verify(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(len(s.hosts))
	for i, v := range s.volumes {
		group.Go(func() error { return s.verify(ctx, v, i%len(s.hosts)) })
	}
	return group.Wait()
}

// verify reads a volume from end to end through one host.
func (s *Soak) verify(ctx context.Context, v *volume, host int) error {
	w := newWorker(s, host)
	for lba := uint64(0); lba < v.image.Sectors(); lba += longest {
		n := min(longest, v.image.Sectors()-lba)
		if err := w.read(ctx, v, lba, n); err != nil {
			return err
		}
		s.counts.verified.Add(n * oracle.SectorSize)
	}
	return nil
}

// errSpace is that space does not come back.
var errSpace = errors.New("space does not come back")

// Calm deletes all snapshots and clones, and waits until the array holds no more than
// the volumes that are left, on no more disk than bound allows for them; when that takes
// longer than limit it is errSpace.
func (s *Soak) Calm(ctx context.Context, limit time.Duration, bound func(live uint64) uint64) (Sample, error) {
	for len(s.volumes) > s.c.Volumes {
		if err := s.drop(ctx, s.volumes[len(s.volumes)-1]); err != nil {
			return Sample{}, err
		}
	}
	const sectors = blockSize / oracle.SectorSize
	var least, most uint64
	for _, v := range s.volumes {
		least += s.oracle.Occupied(v.image, sectors) * blockSize
		most += v.image.Sectors() * oracle.SectorSize
	}
	tick := time.NewTicker(calmEvery)
	defer tick.Stop()
	began := time.Now()
	for {
		now, err := s.sample(ctx, time.Since(began))
		if err != nil {
			return now, err
		}
		if now.Live >= least && now.Live <= most && now.Disk <= bound(now.Live) {
			return now, nil
		}
		if now.At > limit {
			return now, fmt.Errorf("%w: %v after the load there are %s live, where %s to %s are right; %s on disk, where %s are allowed", errSpace, limit,
				mib(now.Live), mib(least), mib(most), mib(now.Disk), mib(bound(now.Live)))
		}
		select {
		case <-ctx.Done():
			return now, ctx.Err()
		case <-tick.C:
		}
	}
}

const (
	blockSize = 4096 // that the engine counts in
	calmEvery = 500 * time.Millisecond
)

// Check has the array compare its catalog with its engine and its routes.
func (s *Soak) Check(ctx context.Context) error {
	r, err := call[struct {
		OK      bool   `json:"ok"`
		Problem string `json:"problem"`
	}](ctx, s, http.MethodGet, "/check", nil)
	if err == nil && !r.OK {
		err = fmt.Errorf("the array's check of itself: %s", r.Problem)
	}
	return err
}

// bind makes a volume reachable for all hosts.
func (s *Soak) bind(ctx context.Context, v *volume) error {
	v.units = nil
	for i, session := range s.hosts {
		b, err := call[api.Binding](ctx, s, http.MethodPost, "/bindings", map[string]any{"vvol": v.id, "initiator": hostName(i)})
		if err != nil {
			return err
		}
		lun, err := scsi.ParseLUN(b.LUN)
		if err != nil {
			return err
		}
		v.units = append(v.units, session.Unit(lun))
	}
	return v.ready(ctx)
}

// ready clears the unit attentions of all hosts.
func (v *volume) ready(ctx context.Context) error {
	for _, u := range v.units {
		if _, err := u.ClearAttentions(ctx); err != nil {
			return err
		}
	}
	return nil
}

// welcome lets workers use a new volume.
func (s *Soak) welcome(ctx context.Context, v *volume) error {
	if err := s.bind(ctx, v); err != nil {
		return err
	}
	s.mu.Lock()
	s.volumes = append(s.volumes, v)
	s.mu.Unlock()
	return nil
}

func (s *Soak) create(ctx context.Context, name string) (*volume, error) {
	made, err := call[api.VVol](ctx, s, http.MethodPost, "/vvols", map[string]any{"container": "default", "sizeBytes": s.c.Size, "name": name})
	if err != nil {
		return nil, err
	}
	v := &volume{id: made.ID, image: s.oracle.Blank(s.c.Size / oracle.SectorSize)}
	return v, s.welcome(ctx, v)
}
