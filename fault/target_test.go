package fault

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/scsi/cdb"
	"vvsim/vvol"
	"vvsim/vvol/store"
)

// nowhere is a target without logical units, as pe.Target is where nothing is mapped: it
// keeps no task set. It counts what it executes.
type nowhere struct {
	mu       sync.Mutex
	prepared int
	executed int
	lost     int
	told     []string
}

func (n *nowhere) Prepare(*scsi.Task) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.prepared++
	return 0
}

func (n *nowhere) Execute(*scsi.Task) scsi.Response {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.executed++
	return scsi.Good()
}

func (n *nowhere) ExecuteAll(tasks []*scsi.Task, answers []scsi.Response) {
	for k, t := range tasks {
		answers[k] = n.Execute(t)
	}
}

func (n *nowhere) Manage(context.Context, scsi.TaskManagement) scsi.ManagementResponse {
	return scsi.LUNDoesNotExist
}
func (n *nowhere) NexusLost(*scsi.Nexus)              { n.lost++ }
func (n *nowhere) NexusEstablished(*scsi.Nexus) error { return nil }

// Locate knows LUN 0100…01 as a volume behind pe0.
func (n *nowhere) Locate(_ *scsi.Nexus, l scsi.LUN) (vvol.ID, string) {
	if l[7] == 1 {
		return vvol.ID{1}, "pe0"
	}
	return vvol.ID{}, "pe0"
}

// Attention asks for LUN 0 and 1 of two hosts, on a portal each, and notes which it tells.
func (n *nowhere) Attention(code scsi.ASC, to func(*scsi.Nexus, vvol.ID, string) bool) (told int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told = append(n.told, code.String())
	for _, x := range []*scsi.Nexus{nexus("iqn.a", 1), nexus("iqn.b", 2)} {
		for lun := range byte(2) {
			volume, endpoint := n.Locate(x, scsi.LUN{7: lun})
			if to(x, volume, endpoint) {
				n.told = append(n.told, fmt.Sprintf("%s:%d", x.Initiator, lun))
			}
		}
	}
	return len(n.told)
}

// LoseReservations is as Attention.
func (n *nowhere) LoseReservations(released bool, to func(*scsi.Nexus, vvol.ID, string) bool) int {
	code := scsi.ReservationsPreempted
	if released {
		code = scsi.ReservationsReleased
	}
	return n.Attention(code, to)
}

func (n *nowhere) TakeAttention(*scsi.Task) (scsi.ASC, bool) { return 0, false }

// heard is what was told since it was last asked.
func (n *nowhere) heard() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer func() { n.told = nil }()
	return strings.Join(n.told, " ")
}

func nexus(host string, port uint16) *scsi.Nexus {
	return &scsi.Nexus{NexusID: scsi.NexusID{Initiator: host, TargetPort: port}}
}

func task(n *scsi.Nexus, lun byte, b ...byte) *scsi.Task {
	return &scsi.Task{Nexus: n, LUN: scsi.LUN{7: lun}, CDB: append(b, make([]byte, 16-len(b))...), Tag: uint32(lun) + 100}
}

func read(lba uint64, blocks uint32) []byte {
	c := cdb.Block{Op: scsi.OpRead16, LBA: lba, Blocks: blocks}
	return c.AppendTo(nil)
}

// Each condition limits a rule by itself.
func TestScope(t *testing.T) {
	a, b := nexus("iqn.a", 1), nexus("iqn.b", 2)
	for _, c := range []struct {
		condition string
		task      *scsi.Task
		hit       bool
	}{
		{"", task(a, 0), true},
		{"host=iqn.a", task(a, 0), true}, {"host=iqn.a", task(b, 0), false},
		{"portal=2", task(b, 0), true}, {"portal=2", task(a, 0), false},
		{"pe=pe0", task(a, 1), true}, {"pe=pe1", task(a, 1), false},
		{"pe=naa.pe0", task(a, 1), true}, {"pe=naa.pe1", task(a, 1), false},
		{"vvol=disk1", task(a, 1), true}, {"vvol=disk1", task(a, 0), false}, {"vvol=disk2", task(a, 1), false},
		{"vvol=" + vvol.ID{1}.String(), task(a, 1), true}, {"vvol=" + vvol.ID{2}.String(), task(a, 1), false},
		{"container=pool1", task(a, 1), true}, {"container=pool2", task(a, 1), false}, {"container=pool1", task(a, 0), false},
		{"container=" + vvol.ContainerID{9}.String(), task(a, 1), true}, {"container=" + vvol.ContainerID{8}.String(), task(a, 1), false},
		{"container=pool1 vvol=disk1", task(a, 1), true}, {"container=pool2 vvol=disk1", task(a, 1), false}, {"container=pool1 vvol=disk2", task(a, 1), false},
		{"op=0x12", task(a, 0, 0x12), true}, {"op=0x12", task(a, 0, 0x00), false},
		{"op=read", task(a, 0, read(5, 1)...), true}, {"op=write", task(a, 0, read(5, 1)...), false}, {"op=media", task(a, 0, read(5, 1)...), true},
		{"op=write", task(a, 0, 0x89), true}, {"op=write", task(a, 0, 0x42), true}, {"op=media", task(a, 0, 0x00), false}, {"op=any", task(a, 0, 0x00), true},
		{"lba=5-6", task(a, 0, read(5, 1)...), true}, {"lba=5-6", task(a, 0, read(0, 5)...), false}, {"lba=5-6", task(a, 0, read(0, 6)...), true},
		{"lba=5-6", task(a, 0, read(6, 100)...), true}, {"lba=5-6", task(a, 0, read(7, 1)...), false}, {"lba=5-6", task(a, 0, read(5, 0)...), false},
		{"lba=5-6", task(a, 0, 0x00), false}, {"lba=5-6", task(a, 0, 0x91), true}, {"lba=18446744073709551615", task(a, 0, read(1<<64-1, 1)...), true},
	} {
		i := open(t, Options{Name: func(vvol.ID) string { return "disk1" }, Container: func(vvol.ID) vvol.ContainerID { return vvol.ContainerID{9} },
			ContainerName: func(vvol.ContainerID) string { return "pool1" },
			Endpoints:     []Endpoint{{"pe0", "naa.pe0"}, {"pe1", "naa.pe1"}}})
		behind := &nowhere{}
		target := i.NewTarget(behind, behind)
		add(t, i, "lu "+c.condition+" -> busy")
		c.task.Prompt, c.task.Joins = true, true
		target.Prepare(c.task)
		require.Equal(t, !c.hit, c.task.Prompt && c.task.Joins, c.condition)
		r := target.Execute(c.task)
		require.Equal(t, c.hit, r.Status == scsi.StatusBusy, "%s: %v", c.condition, c.task.CDB)
		require.Equal(t, c.hit, behind.executed == 0)
		require.Equal(t, behind.prepared, behind.executed, "each prepared task is executed once")
		require.Zero(t, target.broken.Load())
	}
}

// What is held where no logical unit knows of it ends with its session, by task
// management, by the rule's end and by the array's.
func TestHeldNowhere(t *testing.T) {
	manage := func(f scsi.TaskFunction, want scsi.ManagementResponse) func(*testing.T, *Injector, *Target, *scsi.Task) {
		return func(t *testing.T, _ *Injector, target *Target, k *scsi.Task) {
			got := target.Manage(t.Context(), scsi.TaskManagement{Function: f, Nexus: k.Nexus, LUN: k.LUN, Referenced: k.Tag})
			require.Equal(t, want, got)
		}
	}
	for name, c := range map[string]struct {
		action  string
		end     func(*testing.T, *Injector, *Target, *scsi.Task)
		aborted bool
	}{
		"rule removed":   {"hang", func(t *testing.T, i *Injector, _ *Target, _ *scsi.Task) { require.NoError(t, i.Clear(t.Context())) }, false},
		"rule forgets":   {"apd drop", func(t *testing.T, i *Injector, _ *Target, _ *scsi.Task) { require.NoError(t, i.Clear(t.Context())) }, true},
		"array stops":    {"apd", func(_ *testing.T, i *Injector, _ *Target, _ *scsi.Task) { i.Close() }, true},
		"session lost":   {"apd", func(_ *testing.T, _ *Injector, target *Target, k *scsi.Task) { target.NexusLost(k.Nexus) }, true},
		"abort task":     {"apd", manage(scsi.AbortTask, scsi.FunctionComplete), true},
		"abort task set": {"apd", manage(scsi.AbortTaskSet, scsi.FunctionComplete), true},
		"unit reset":     {"delay 1h", manage(scsi.LogicalUnitReset, scsi.FunctionComplete), true},
		"nexus reset":    {"apd", manage(scsi.ITNexusReset, scsi.LUNDoesNotExist), true},
	} {
		t.Run(name, func(t *testing.T) {
			i := open(t, Options{})
			behind := &nowhere{}
			target := i.NewTarget(behind, behind)
			s := add(t, i, "lu host=iqn.a -> "+c.action)
			k, other := task(nexus("iqn.a", 1), 2), task(nexus("iqn.b", 1), 2)
			target.Prepare(k)
			done := make(chan scsi.Response)
			go func() { done <- target.Execute(k) }()
			awaitHits(t, i, s.ID, 1)
			target.Prepare(other)
			answers := make([]scsi.Response, 1)
			target.ExecuteAll([]*scsi.Task{other}, answers)
			require.Equal(t, scsi.FunctionComplete|scsi.LUNDoesNotExist, target.Manage(t.Context(), scsi.TaskManagement{Function: scsi.AbortTask, Nexus: other.Nexus, LUN: other.LUN, Referenced: other.Tag}))
			select {
			case <-done:
				t.Fatal("it did not wait")
			default:
			}
			c.end(t, i, target, k)
			<-done
			require.Equal(t, c.aborted, k.Aborted())
			require.Equal(t, 2, behind.executed)
			require.Zero(t, target.broken.Load())
			require.Empty(t, target.tasks)
		})
	}
}

// BenchmarkNoRules is what a command, an access to a volume and an operation pay for their
// decorators: compare "bare". That of paths is BenchmarkUndisturbed of package line.
func BenchmarkNoRules(b *testing.B) {
	i := open(b, Options{})
	command := func(target scsi.Target) func(*testing.B) {
		k := task(nexus("iqn.a", 1), 1)
		return func(b *testing.B) {
			for b.Loop() {
				target.Prepare(k)
				target.Execute(k)
			}
		}
	}
	b.Run("lu/bare", command(quick{}))
	b.Run("lu/decorated", command(i.NewTarget(quick{}, nil)))
	access := func(e store.Engine) func(*testing.B) {
		o, err := e.Open(b.Context(), store.ID{1})
		require.NoError(b, err)
		p := make([]byte, 512)
		return func(b *testing.B) {
			for b.Loop() {
				_ = o.ReadAt(b.Context(), p, 0)
			}
		}
	}
	b.Run("engine/bare", access(quickEngine{}))
	b.Run("engine/decorated", access(i.NewEngine(quickEngine{})))
	operation := func(next Invoker) func(*testing.B) {
		return func(b *testing.B) {
			for b.Loop() {
				_, _ = next.Invoke(b.Context(), "getEvents", nil)
			}
		}
	}
	b.Run("vasa/bare", operation(quickProvider{}))
	b.Run("vasa/decorated", operation(i.NewProvider(quickProvider{}, Failures{})))
}

// quickEngine opens what does nothing.
type quickEngine struct{ store.Engine }

func (quickEngine) Open(context.Context, store.ID) (store.Object, error) { return quickObject{}, nil }

type quickObject struct{ store.Object }

func (quickObject) ReadAt(context.Context, []byte, uint64) error { return nil }

type quickProvider struct{}

func (quickProvider) Invoke(context.Context, string, any) (any, error) { return nil, nil }

// quick does nothing.
type quick struct{ scsi.Target }

func (quick) Prepare(*scsi.Task) int           { return 0 }
func (quick) Execute(*scsi.Task) scsi.Response { return scsi.Response{} }
