package sim

import (
	"cmp"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing/synctest"
	"time"

	"vvsim/api"
	"vvsim/test/oracle"
)

// play does so many steps.
func (s *run) play(steps int) {
	for range 3 {
		s.create()
	}
	for i := range steps {
		s.r = rand.New(rand.NewPCG(s.seed, uint64(i)))
		s.align()
		s.steps++
		s.step()
		s.settle()
		if s.t.Failed() {
			return
		}
	}
	s.r = rand.New(rand.NewPCG(s.seed, 1<<32))
	s.align()
}

// grid is what a step may take longer than the same step of another play: Badger polls
// every 10 ms for what it has not done at its first look, which is the scheduler's to decide.
const grid = 100 * time.Millisecond

// align goes on at the same time in every play, and at no two times that differ by whole
// seconds, as those of hosts and the array do.
func (s *run) align() {
	now := time.Since(s.began)
	time.Sleep(now.Truncate(grid) + grid + time.Duration(s.r.Int64N(int64(grid)/2)) - now)
	synctest.Wait()
}

// settle lets what was begun come to where it stays, and looks what has ended.
func (s *run) settle() {
	s.align()
	s.collect()
}

// step does one thing.
func (s *run) step() {
	switch kind := s.r.IntN(100); {
	case kind < 40:
		s.burst()
	case kind < 54:
		s.pass()
	case kind < 68:
		s.addFault()
	case kind < 75:
		s.heal()
	case kind < 79:
		s.snapshot()
	case kind < 84:
		s.clone()
	case kind < 86:
		s.revert()
	case kind < 90:
		s.remove()
	case kind < 92:
		s.create()
	case kind < 95:
		s.dropSession()
	case kind < 97:
		s.restart()
	default:
		s.die()
	}
}

// pass lets time pass: moments, the times of hosts, and more than they wait.
func (s *run) pass() {
	d := []time.Duration{time.Millisecond, time.Second, 4 * time.Second, 12 * time.Second, 12 * time.Second, 45 * time.Second, 45 * time.Second, 4 * time.Minute}[s.r.IntN(8)]
	d = d/2 + time.Duration(s.r.Int64N(int64(d)))
	s.note("pass %v", d)
	time.Sleep(d)
}

func (s *run) addFault() {
	var names []string
	for _, v := range s.volumes {
		names = append(names, v.name)
	}
	rule := anyRule(s.r, names...)
	s.note("fault %s", rule)
	s.counts["fault"]++
	call[api.Fault](s, http.MethodPost, "/faults", map[string]any{"rule": rule})
}

// heal takes away all faults, or one.
func (s *run) heal() {
	all, one := s.r.IntN(2) == 0, s.r.Uint32()
	list, _ := call[[]api.Fault](s, http.MethodGet, "/faults", nil)
	switch {
	case len(list) == 0:
	case all:
		s.note("clear %d faults", len(list))
		call[any](s, http.MethodDelete, "/faults", nil)
	default:
		f := list[int(one)%len(list)]
		s.note("remove fault %s", f.Rule)
		call[any](s, http.MethodDelete, "/faults/"+f.ID, nil)
	}
}

func (s *run) create() {
	if len(s.volumes) >= mostVolumes {
		return
	}
	v := &volume{name: s.name(), image: s.oracle.Blank(volumeSectors)}
	s.note("create %s", v.name)
	made, refused := call[api.VVol](s, http.MethodPost, "/vvols", map[string]any{"container": "default", "sizeBytes": volumeSize, "name": v.name})
	if !refused {
		v.id = made.ID
		s.volumes = append(s.volumes, v)
	}
}

// fork makes a volume of each source, all at one instant.
func (s *run) fork(sources []*volume, names []string, ask func() ([]api.VVol, bool)) {
	var images []*oracle.Image
	for _, v := range sources {
		images = append(images, v.image)
	}
	f := s.oracle.BeginFork(images...)
	made, refused := ask()
	images = s.oracle.EndFork(f)
	if refused {
		return
	}
	for i, m := range made {
		v := &volume{name: names[i], id: m.ID, image: images[i], readOnly: m.ReadOnly}
		if m.SnapshotOf != "" {
			v.of = sources[i].name
		}
		s.volumes = append(s.volumes, v)
	}
}

// snapshot freezes up to three volumes at one instant.
func (s *run) snapshot() {
	var sources []*volume
	var names []string
	var items []map[string]any
	for range 1 + s.r.IntN(3) {
		v, writable := s.volumes[s.r.IntN(len(s.volumes))], s.r.IntN(4) == 0
		if !slices.Contains(sources, v) && len(s.volumes)+len(sources) < mostVolumes {
			sources, names = append(sources, v), append(names, s.name())
			items = append(items, map[string]any{"vvol": v.id, "name": names[len(names)-1], "writable": writable})
			s.note("snapshot %s of %s", names[len(names)-1], v.name)
		}
	}
	if len(sources) > 0 {
		s.fork(sources, names, func() ([]api.VVol, bool) {
			return call[[]api.VVol](s, http.MethodPost, "/snapshots", map[string]any{"items": items})
		})
	}
}

func (s *run) clone() {
	v, kind := s.volumes[s.r.IntN(len(s.volumes))], []string{"clone", "fast-clone"}[s.r.IntN(2)]
	if len(s.volumes) >= mostVolumes {
		return
	}
	name := s.name()
	s.note("%s %s of %s", kind, name, v.name)
	s.fork([]*volume{v}, []string{name}, func() ([]api.VVol, bool) {
		made, refused := call[api.VVol](s, http.MethodPost, "/vvols/"+v.id+"/"+kind, map[string]any{"name": name})
		return []api.VVol{made}, refused
	})
}

// revert takes a volume that nobody uses back to one of its snapshots.
func (s *run) revert() {
	snapshot := s.volumes[s.r.IntN(len(s.volumes))]
	at := slices.IndexFunc(s.volumes, func(v *volume) bool { return v.name == snapshot.of })
	if at < 0 || s.volumes[at].readOnly || s.used(s.volumes[at]) {
		return
	}
	v := s.volumes[at]
	s.note("revert %s to %s", v.name, snapshot.name)
	s.leave(v)
	f := s.oracle.BeginFork(snapshot.image)
	_, refused := call[api.VVol](s, http.MethodPost, "/vvols/"+v.id+"/revert", map[string]any{"snapshot": snapshot.id})
	images := s.oracle.EndFork(f)
	if !refused {
		v.image = images[0]
	}
}

// remove deletes a volume that nobody uses, but the last.
func (s *run) remove() {
	v := s.volumes[s.r.IntN(len(s.volumes))]
	if len(s.volumes) < 2 || s.used(v) {
		return
	}
	s.note("delete %s", v.name)
	s.leave(v)
	if _, refused := call[any](s, http.MethodDelete, "/vvols/"+v.id, nil); !refused {
		s.volumes = slices.DeleteFunc(s.volumes, func(x *volume) bool { return x == v })
	}
}

func (s *run) dropSession() {
	one := s.r.Uint32()
	list, _ := call[[]api.Session](s, http.MethodGet, "/sessions", nil)
	if len(list) == 0 {
		return
	}
	slices.SortFunc(list, func(a, b api.Session) int {
		return cmp.Or(cmp.Compare(a.PortalGroup, b.PortalGroup), cmp.Compare(a.Initiator, b.Initiator))
	})
	x := list[int(one)%len(list)]
	s.note("drop session of %s at portal %d", x.Initiator, x.PortalGroup)
	call[any](s, http.MethodDelete, "/sessions/"+x.ID, nil)
}
