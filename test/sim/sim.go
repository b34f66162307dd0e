package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"vvsim/api"
	"vvsim/array"
	"vvsim/scsi"
	"vvsim/scsi/iscsi/host"
	"vvsim/scsi/iscsi/initiator"
	"vvsim/test/network"
	"vvsim/test/oracle"
)

// Limits of a run.
const (
	hosts         = 2
	portals       = 2
	mostVolumes   = 10
	volumeSize    = 512 << 10
	volumeSectors = volumeSize / oracle.SectorSize
	longest       = 64 << 10 / oracle.SectorSize // of a command that carries data
	block         = 4096 / oracle.SectorSize
	mostPending   = 24               // commands in flight
	settleTime    = 7 * time.Minute  // beyond Disk.PathEvalTime: after which nothing may be in flight without faults
	callLimit     = 10 * time.Minute // of one request to the API
)

// run is one array with what is done to it. One goroutine uses it.
type run struct {
	t       *testing.T
	seed    uint64
	r       *rand.Rand // of the present step
	began   time.Time
	network *network.Network
	c       array.Config
	a       *array.Array
	client  *api.Client
	oracle  *oracle.Oracle
	hosts   []*host.Host
	volumes []*volume
	names   int
	pending []*command
	log     []string // a line per step and outcome
	counts  map[string]int
	steps   int // that were begun
	lie     int // from this step on, what is read has a wrong bit; 0: nothing has
}

// volume is one with what hosts have of it.
type volume struct {
	name, id string
	image    *oracle.Image
	readOnly bool
	of       string // name of the volume that a snapshot was taken of
	disks    [hosts]*disk
}

// disk is a volume that a host has open.
type disk struct {
	*host.Device
	handle *host.Handle
	unit   *initiator.Unit
}

func hostName(i int) string { return fmt.Sprintf("iqn.1998-01.com.vmware:sim%d", i) }

// note keeps a line of what happens, and when.
func (s *run) note(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf("%12v ", time.Since(s.began).Round(time.Millisecond))+fmt.Sprintf(format, args...))
}

// start makes the array and the hosts.
func (s *run) start() {
	s.began, s.network, s.oracle, s.counts = time.Now(), network.New(), oracle.New(), map[string]int{}
	s.client = &api.Client{HTTP: &http.Client{Transport: &http.Transport{DialContext: s.network.DialNetwork}}}
	s.c = array.DefaultConfig()
	s.c.Data, s.c.API.Addr, s.c.VASA.Addr = s.directory(), "127.0.0.1:1000", "127.0.0.1:1001"
	s.c.ISCSI.Portals = nil
	for i := range portals {
		s.c.ISCSI.Portals = append(s.c.ISCSI.Portals, fmt.Sprintf("127.0.0.1:%d", 3260+i))
	}
	s.c.Store.JournalMiB = 16
	require.NoError(s.t, s.c.Validate())
	s.open()
	for i := range hosts {
		h, err := host.New(host.Options{Portals: s.c.ISCSI.Portals, Settings: settings(), Apart: apart,
			Session: initiator.Options{TargetName: s.a.Ready().IQN, InitiatorName: hostName(i), Dialer: s.dialer(i)}})
		require.NoError(s.t, err)
		require.NoError(s.t, h.Connect(s.t.Context()))
		s.hosts = append(s.hosts, h)
	}
}

// apart is how far things are apart that might be at one instant.
const apart = 1009 * time.Nanosecond

// dialer is that of a host. Each of its paths has delays of its own, so that what happens on
// several has an order.
func (s *run) dialer(i int) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, address string) (net.Conn, error) {
		path := time.Duration(i*portals + slices.Index(s.c.ISCSI.Portals, address))
		return s.network.DialOver(ctx, address, 100_003*time.Nanosecond+path*17_011, 110_017*time.Nanosecond+path*13_007)
	}
}

// settings are those of ESXi, each time a little longer, so that none is a multiple or the
// sum of others.
func settings() host.Settings {
	h := host.Defaults()
	for i, d := range []*time.Duration{&h.PathEvalTime, &h.FastProbe, &h.CommandTimeout, &h.ProbeTimeout, &h.AbortTimeout, &h.BusyDelay, &h.APDTimeout,
		&h.PDLDelay, &h.PingInterval, &h.PingTimeout, &h.RecoveryTimeout, &h.LoginTimeout, &h.LoginPause} {
		*d += (1 << i) * 1013 * time.Nanosecond
	}
	return h
}

// directory is a new one, in memory where there is such a place.
func (s *run) directory() string {
	dir, err := os.MkdirTemp("/dev/shm", "vvsim-sim")
	if err != nil {
		return s.t.TempDir()
	}
	s.t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (s *run) open() {
	a, err := array.Open(s.t.Context(), s.c, "sim", zap.NewNop())
	require.NoError(s.t, err)
	a.ListenWith(s.network.Listen)
	require.NoError(s.t, a.Start(s.t.Context()))
	s.a, s.client.Base = a, a.Ready().API
}

// restart ends the array in order and starts it again.
func (s *run) restart() {
	s.note("restart with %d commands in flight", len(s.pending))
	s.counts["restart"]++
	require.NoError(s.t, s.a.Close(context.Background()))
	s.client.HTTP.CloseIdleConnections()
	s.open()
}

// die ends the array as kill -9 does, at an instant in which nothing runs.
func (s *run) die() {
	synctest.Wait()
	s.note("death with %d commands in flight", len(s.pending))
	s.counts["death"]++
	s.counts["in flight at a death"] += len(s.pending)
	old, dir := s.a, s.directory()
	require.NoError(s.t, copyTree(dir, s.c.Data))
	s.network.Cut()
	require.NoError(s.t, old.Close(context.Background()))
	s.client.HTTP.CloseIdleConnections()
	require.NoError(s.t, os.RemoveAll(s.c.Data))
	s.c.Data = dir
	s.open()
}

// call sends a request to the API. A refusal that a busy array may give is told, others fail the run.
func call[T any](s *run, method, path string, body any) (v T, refused bool) {
	ctx, cancel := context.WithTimeout(s.t.Context(), callLimit)
	defer cancel()
	b, err := s.client.Do(ctx, method, "/api/v1"+path, body)
	var problem *api.Error
	if errors.As(err, &problem) && slices.Contains([]string{"too-many-snapshots", "busy", "in-use"}, strings.TrimPrefix(problem.Type, "urn:vvsim:")) {
		s.note("%s %s refused: %s", method, path, problem.Type)
		return v, true
	}
	require.NoError(s.t, err, "%s %s", method, path)
	if len(b) > 0 {
		require.NoError(s.t, json.Unmarshal(b, &v))
	}
	return v, false
}

// name draws the name of a new volume.
func (s *run) name() string {
	s.names++
	return fmt.Sprint("v", s.names)
}

// disk is the volume as host i has it; nil when the host does not reach it now. A device
// that was lost is found again.
func (s *run) disk(v *volume, i int) *disk {
	if d := v.disks[i]; d != nil {
		if state := d.State(); state != host.PermanentLoss && state != host.Removed {
			return d
		}
		d.handle.Close()
		v.disks[i] = nil
	}
	b, refused := call[api.Binding](s, http.MethodPost, "/bindings", map[string]any{"vvol": v.id, "initiator": hostName(i)})
	if refused {
		return nil
	}
	lun, err := scsi.ParseLUN(b.LUN)
	require.NoError(s.t, err)
	s.hosts[i].Rescan()
	d, err := s.hosts[i].Attach(s.t.Context(), lun)
	if err != nil {
		return nil
	}
	handle, err := d.Open(host.ByGuest)
	if err != nil {
		return nil
	}
	v.disks[i] = &disk{d, handle, handle.Unit()}
	return v.disks[i]
}

// leave has all hosts give a volume up.
func (s *run) leave(v *volume) {
	for i, d := range v.disks {
		if d != nil {
			d.handle.Close()
			require.NoError(s.t, d.Detach())
			v.disks[i] = nil
		}
	}
	about, _ := call[api.VVol](s, http.MethodGet, "/vvols/"+v.id, nil)
	for _, b := range about.Bindings {
		call[any](s, http.MethodDelete, "/bindings/"+b.ID, nil)
	}
}

// used tells whether commands on the volume are in flight.
func (s *run) used(v *volume) bool {
	return slices.ContainsFunc(s.pending, func(c *command) bool { return c.v == v })
}

// finish takes away all faults, and shows that nothing is lost.
func (s *run) finish() {
	s.note("end")
	call[any](s, http.MethodDelete, "/faults", nil)
	time.Sleep(settleTime)
	s.collect()
	for _, c := range s.pending {
		s.t.Errorf("still in flight after %v without faults: %v", settleTime, c)
	}
	// Where a target said that it is gone, or a device was lost, an administrator looks again.
	for range 2 {
		for _, h := range s.hosts {
			h.Rescan()
		}
		for _, v := range s.volumes {
			for i := range hosts {
				s.disk(v, i)
			}
		}
		time.Sleep(time.Minute) // a lost device goes 10 s after nobody has it open any more
	}
	for _, v := range s.volumes {
		for i := range hosts {
			s.verify(v, i)
		}
	}
	r, _ := call[struct {
		OK      bool   `json:"ok"`
		Problem string `json:"problem"`
	}](s, http.MethodGet, "/check", nil)
	require.True(s.t, r.OK, "the array's check of itself: %s", r.Problem)
}

// verify reads a volume from end to end.
func (s *run) verify(v *volume, i int) {
	d := s.disk(v, i)
	require.NotNil(s.t, d, "%s of host %d", v.name, i)
	p := make([]byte, volumeSize)
	r := s.oracle.BeginRead(v.image, 0, volumeSectors)
	_, err := d.unit.ReadAt(s.t.Context(), p, 0)
	require.NoError(s.t, err, "%s of host %d", v.name, i)
	s.plant(p)
	require.NoError(s.t, s.oracle.EndRead(r, p), "%s of host %d", v.name, i)
	require.Equal(s.t, host.On, d.State())
}

// close ends hosts and array.
func (s *run) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, h := range s.hosts {
		_ = h.Close(ctx) // a target that is broken need not answer
	}
	s.collect()
	if s.a != nil {
		require.NoError(s.t, s.a.Close(context.Background()))
	}
	s.client.HTTP.CloseIdleConnections()
}
