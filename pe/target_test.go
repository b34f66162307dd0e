package pe

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/scsi/device"
	"vvsim/vvol"
	"vvsim/vvol/store"
)

// lun reads a LUN as it is written in scsi.md: up to 16 hex digits, zeros after.
func lun(t testing.TB, s string) scsi.LUN {
	l, err := scsi.ParseLUN((s + "0000000000000000")[:16])
	require.NoError(t, err)
	return l
}

// TestAddressing leads LUNs of every form where they belong, or nowhere.
func TestAddressing(t *testing.T) {
	r := newRig(t, time.Minute)
	v := r.create("a")
	require.Equal(t, "0100e20000000001", r.bind(v, "h1").String(), "what VASA hands out")
	s, other := r.login("h1", 1), r.login("h2", 1)
	defer s.logout()
	defer other.logout()
	s.settle(lun(t, "01000001"))
	for _, form := range []string{"01000001", "0100d2000001", "0100e20000000001"} {
		require.Equal(t, "good", s.ready(lun(t, form)), form)
		require.Equal(t, "5/25/00", other.ready(lun(t, form)), "%s is another host's", form)
	}
	s.settle(lun(t, "0100"))
	for _, form := range []string{
		"4100",             // flat form of the protocol endpoint (scsi.md 0 rule 4)
		"8100", "d2000100", // and others
		"0101", "0101e20000000001", // no such protocol endpoint
		"012ce20000000001",                 // another one
		"0100e20000000002",                 // an id that is not bound
		"010000010001", "01000001000000ff", // something behind the element
		"01004001", "01008001", "0100c101", // elements that a conglomerate LUN has not
		"4100e20000000001", "ffffffffffffffff", "0001", "c102",
	} {
		require.Equal(t, "5/25/00", s.ready(lun(t, form)), form)
	}
}

// TestAbsent answers for logical units that are not there (scsi.md 1.8).
func TestAbsent(t *testing.T) {
	r := newRig(t, time.Minute)
	v := r.create("a")
	bound := r.bind(v, "h1")
	foreign := r.login("h2", 1)
	defer foreign.logout()
	for name, l := range map[string]scsi.LUN{"foreign": bound, "unbound": scsi.SubsidiaryLUN(peAddress, 99), "unknown endpoint": lun(t, "0202"),
		"LUN 0": {}, "no alias": lun(t, "0005")} {
		o := foreign.run(l, 0x12, 0, 0, 0, 96)
		require.Equal(t, "good", o.String(), name)
		require.Equal(t, byte(0x7f), o.data[0], name)
		require.Equal(t, "5/25/00", foreign.run(l, 0x12, 1, 0x83, 0, 255).String(), name)
		o = foreign.run(l, 0x03, 0, 0, 0, 252)
		require.Equal(t, "good", o.String(), name)
		require.Equal(t, []byte{0x70, 5, 0x25, 0}, []byte{o.data[0], o.data[2], o.data[12], o.data[13]}, name)
		require.Equal(t, []string{"0100000000000000"}, foreign.luns(l, 0), name)
		for _, op := range []byte{0x00, 0x25, 0x28, 0x2a, 0x5e, 0xa3, 0xff} {
			require.Equal(t, "5/25/00", foreign.run(l, op).String(), "%s: %02x", name, op)
		}
		for _, f := range []scsi.TaskFunction{scsi.AbortTask, scsi.AbortTaskSet, scsi.ClearTaskSet, scsi.LogicalUnitReset, scsi.QueryTask} {
			require.Equal(t, scsi.LUNDoesNotExist, foreign.manage(f, l, 1), "%s: %v", name, f)
		}
	}
	well := foreign.run(scsi.ReportLUNsWellKnown, 0xa0, 0, 1, 0, 0, 0, 0, 0, 16)
	require.Equal(t, "good", well.String())
}

// TestReportLUNs shows each host its own bindings, on the protocol endpoint only.
func TestReportLUNs(t *testing.T) {
	r := newRig(t, time.Minute)
	a, b := r.create("a"), r.create("b")
	r.bind(a, "h1")
	r.bind(b, "h1")
	r.bind(b, "h2")
	alias := uint16(600)
	_, err := r.service.MapLUN(t.Context(), a.ID, &alias)
	require.NoError(t, err)
	h1, h2 := r.login("h1", 1), r.login("h2", 1)
	defer h1.logout()
	defer h2.logout()
	const pe0, disk, well = "0100000000000000", "4258000000000000", "c101000000000000"
	for _, c := range []struct {
		s    *session
		at   scsi.LUN
		code byte
		want []string
	}{
		{h1, peAddress, 0x00, []string{"0100e20000000001", "0100e20000000002"}},
		{h2, peAddress, 0x00, []string{"0100e20000000001"}},
		{h1, peAddress, 0x12, []string{pe0, "0100e20000000001", "0100e20000000002"}},
		{h1, peAddress, 0x11, []string{disk, pe0}},
		{h1, scsi.LUN{}, 0x00, []string{disk, pe0}},
		{h1, scsi.LUN{}, 0x11, []string{disk, pe0}},
		{h1, scsi.LUN{}, 0x10, []string{pe0}},
		{h1, scsi.LUN{}, 0x01, []string{well}},
		{h1, scsi.LUN{}, 0x02, []string{disk, pe0, well}},
		{h1, scsi.ReportLUNsWellKnown, 0x11, []string{disk, pe0}},
		{h1, lun(t, "4258"), 0x00, []string{disk, pe0}},
	} {
		require.Equal(t, c.want, c.s.luns(c.at, c.code), "%v %02x", c.at, c.code)
	}
	require.Equal(t, "5/20/0D", h1.run(scsi.LUN{}, 0xa0, 0, 0x12, 0, 0, 0, 0, 1, 0, 0).String(), "LUN 0 is no administrative LU")
	for _, code := range []byte{0x03, 0x0f, 0x13, 0xf7, 0xf8, 0xff} {
		require.Equal(t, "5/24/00", h1.run(scsi.LUN{}, 0xa0, 0, code, 0, 0, 0, 0, 1, 0, 0).String(), "%02x", code)
	}
}

// TestAttentions raises unit attentions where somebody has to know, and nowhere
// else: bind and unbind on the host's protocol endpoint, resize on the volume.
func TestAttentions(t *testing.T) {
	r := newRig(t, time.Minute)
	a, b := r.create("a"), r.create("b")
	atA := r.bind(a, "h1")
	h1, again, h2 := r.login("h1", 1), r.login("h1", 2), r.login("h2", 1)
	for _, s := range []*session{h1, again, h2} {
		defer s.logout()
		s.settle(peAddress)
	}
	h1.settle(atA)
	again.settle(atA)
	quiet := func() {
		t.Helper()
		for _, s := range []*session{h1, again} {
			require.Equal(t, "good", s.ready(atA))
		}
		for _, s := range []*session{h1, again, h2} {
			require.Equal(t, "good", s.ready(peAddress))
		}
	}
	for knob, want := range map[scsi.ASC]string{scsi.ReportedLUNsDataChanged: "6/3F/0E", scsi.SubsidiaryBindingChanged: "6/3F/1A", 0: "good"} {
		r.setKnobs(func(k *device.Knobs) { k.BindAttention = knob })
		for _, change := range []func(){func() { r.bind(b, "h1") }, func() { r.unbind(b, "h1") }} {
			change()
			require.Equal(t, want, h1.ready(peAddress))
			require.Equal(t, want, again.ready(peAddress), "every session of the host hears of it")
			quiet()
		}
	}
	r.setKnobs(func(*device.Knobs) {})
	r.bind(b, "h1")
	require.NotEmpty(t, h1.luns(peAddress, 0), "REPORT LUNS runs in spite of it and clears it")
	require.Equal(t, "6/3F/0E", again.ready(peAddress))
	quiet()

	_, err := r.service.Resize(t.Context(), a.ID, 8<<20)
	require.NoError(t, err)
	require.Equal(t, "6/2A/09", h1.ready(atA))
	require.Equal(t, "6/2A/09", again.ready(atA))
	quiet()
	o := h1.run(atA, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32)
	require.EqualValues(t, 8<<20/512-1, binary.BigEndian.Uint64(o.data))
}

// TestKnobs changes what is not known of ESXi under a running target.
func TestKnobs(t *testing.T) {
	r := newRig(t, time.Minute)
	v := r.create("a")
	l := r.bind(v, "h1")
	s := r.login("h1", 1)
	defer s.logout()
	s.settle(peAddress, l)
	unbound := scsi.SubsidiaryLUN(peAddress, 77)
	capacity := []byte{0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32}
	for _, c := range []struct {
		edit func(*device.Knobs)
		at   scsi.LUN
		cdb  []byte
		want string
	}{
		{func(*device.Knobs) {}, unbound, []byte{0}, "5/25/00"},
		{func(k *device.Knobs) { k.UnboundSense = scsi.SubsidiaryNotConfigured }, unbound, []byte{0}, "5/68/01"},
		{func(*device.Knobs) {}, peAddress, read, "5/20/00"},
		{func(k *device.Knobs) { k.EndpointMedia = device.MediaNoMedium }, peAddress, read, "2/3A/00"},
		{func(k *device.Knobs) { k.EndpointMedia = device.MediaZeros }, peAddress, read, "good"},
		{func(*device.Knobs) {}, peAddress, capacity, "good"},
		{func(k *device.Knobs) { k.EndpointCapacity = device.CapacityNotReady }, peAddress, capacity, "2/04/00"},
		{func(k *device.Knobs) { k.EndpointCapacity = device.CapacityRefuse }, peAddress, capacity, "5/20/00"},
		{func(k *device.Knobs) { k.ConglomerateReports = false }, peAddress, []byte{0xa0, 0, 0x12, 0, 0, 0, 0, 1}, "5/24/00"},
	} {
		r.setKnobs(c.edit)
		require.Equal(t, c.want, s.run(c.at, c.cdb...).String(), "% x", c.cdb)
	}
	// LOGICAL UNIT RESET of the protocol endpoint.
	for _, knob := range []bool{false, true} {
		r.setKnobs(func(k *device.Knobs) { k.ResetSubsidiaries = knob })
		require.Equal(t, scsi.FunctionComplete, s.manage(scsi.LogicalUnitReset, peAddress, 0))
		require.Equal(t, "6/29/03", s.ready(peAddress))
		require.Equal(t, map[bool]string{false: "good", true: "6/29/03"}[knob], s.ready(l))
	}
}

// TestTaskManagement keeps resets and aborts to the logical unit and the session
// that they are meant for.
func TestTaskManagement(t *testing.T) {
	r := newRig(t, time.Minute)
	a, b := r.create("a"), r.create("b")
	a1, b1, a2 := r.bind(a, "h1"), r.bind(b, "h1"), r.bind(a, "h2")
	h1, h2 := r.login("h1", 1), r.login("h2", 1)
	defer h1.logout()
	defer h2.logout()
	h1.settle(a1, b1)
	h2.settle(a2)
	sister := h1.begin(b1, readSlow...)
	own := h1.begin(a1, readSlow...)
	tag := h1.tag.Load()
	theirs := h2.begin(a2, readSlow...)
	for range 3 {
		await(t, r.engine.reading)
	}
	require.Equal(t, scsi.FunctionComplete, h1.manage(scsi.AbortTask, a1, 9999), "an unknown task counts as aborted")
	require.Equal(t, scsi.FunctionSucceeded, h1.manage(scsi.QueryTask, a1, tag))
	require.Equal(t, scsi.FunctionComplete, h1.manage(scsi.AbortTask, a1, tag))
	require.Equal(t, "silence", await(t, own).String())
	require.Equal(t, scsi.FunctionComplete, h1.manage(scsi.AbortTask, a1, tag), "a finished task")
	require.Equal(t, scsi.FunctionComplete, h1.manage(scsi.LogicalUnitReset, a1, 0))
	require.Equal(t, "silence", await(t, theirs).String(), "the volume is one logical unit, however it is reached")
	require.Equal(t, "6/29/03", h1.ready(a1))
	require.Equal(t, "6/29/03", h2.ready(a2))
	require.Equal(t, "good", h1.ready(b1), "a sister notices nothing")
	r.engine.letGo()
	require.Equal(t, "good", await(t, sister).String())
	require.Equal(t, scsi.FunctionComplete, h1.manage(scsi.TargetWarmReset, scsi.LUN{}, 0))
	require.Equal(t, "6/29/03", h1.ready(b1))
	require.Equal(t, "6/29/03", h2.ready(a2))
}

// TestDetachDrains waits for the commands of the withdrawn binding, lets no other
// in, and disturbs nobody else.
func TestDetachDrains(t *testing.T) {
	r := newRig(t, time.Minute)
	v := r.create("a")
	l1, l2 := r.bind(v, "h1"), r.bind(v, "h2")
	h1, h2 := r.login("h1", 1), r.login("h2", 1)
	defer h1.logout()
	defer h2.logout()
	h1.settle(l1)
	h2.settle(l2)
	running := h1.begin(l1, readSlow...)
	other := h2.begin(l2, readSlow...)
	await(t, r.engine.reading)
	await(t, r.engine.reading)
	unbound := make(chan error, 1)
	go func() { unbound <- r.service.Unbind(context.Background(), v.ID, iqn("h1")) }()
	require.Eventually(t, func() bool { return h1.ready(l1) == "5/25/00" }, time.Minute, time.Millisecond)
	require.Equal(t, "good", h2.run(l2, read...).String())
	select {
	case err := <-unbound:
		t.Fatal("the binding is gone under a running command", err)
	default:
	}
	r.engine.letGo()
	require.NoError(t, await(t, unbound))
	require.Equal(t, "good", await(t, running).String())
	require.Equal(t, "good", await(t, other).String())
	require.Equal(t, "good", h2.ready(l2))
}

// TestDetachDeadline answers commands that do not end in time with TASK ABORTED:
// those of the withdrawn binding, none that came another way.
func TestDetachDeadline(t *testing.T) {
	r := newRig(t, time.Millisecond)
	v := r.create("a")
	l := r.bind(v, "h1")
	m, err := r.service.MapLUN(t.Context(), v.ID, nil)
	require.NoError(t, err)
	alias := scsi.DiskLUN(m.LUN)
	s := r.login("h1", 1)
	defer s.logout()
	s.settle(l)
	require.Equal(t, "good", s.ready(alias), "the same logical unit")
	bound, aliased := s.begin(l, readSlow...), s.begin(alias, readSlow...)
	await(t, r.engine.reading)
	await(t, r.engine.reading)
	r.unbind(v, "h1")
	require.Equal(t, "TASK ABORTED", await(t, bound).String())
	require.Equal(t, "good", s.ready(alias), "the session is still known there")
	r.engine.letGo()
	require.Equal(t, "good", await(t, aliased).String())
	require.NoError(t, r.service.UnmapLUN(t.Context(), m.LUN))
	require.Equal(t, "5/25/00", s.ready(alias))
	require.Empty(t, r.target.units)
}

// TestSessionEndsDuringDetach leaves nothing of a session behind that was lost
// while its binding was being withdrawn: here, no reservation.
func TestSessionEndsDuringDetach(t *testing.T) {
	r := newRig(t, time.Minute)
	v := r.create("a")
	l1, l2 := r.bind(v, "h1"), r.bind(v, "h2")
	h1, more, h2 := r.login("h1", 1), r.login("h1", 2), r.login("h2", 1)
	defer more.logout()
	defer h2.logout()
	h1.settle(l1)
	more.settle(l1)
	h2.settle(l2)
	running := more.begin(l1, readSlow...)
	await(t, r.engine.reading)
	require.Equal(t, "good", h1.run(l1, 0x16).String())
	require.Equal(t, "status 18", h2.run(l2, read...).String())
	unbound := make(chan error, 1)
	go func() { unbound <- r.service.Unbind(context.Background(), v.ID, iqn("h1")) }()
	require.Eventually(t, func() bool { return more.ready(l1) == "5/25/00" }, time.Minute, time.Millisecond)
	h1.logout()
	r.engine.letGo()
	require.NoError(t, await(t, unbound))
	require.Equal(t, "good", await(t, running).String())
	require.Equal(t, "good", h2.run(l2, read...).String())
}

// TestSlowOpen shows that an engine that takes its time to open one volume delays
// no login and no other binding.
func TestSlowOpen(t *testing.T) {
	r := newRig(t, time.Minute)
	slow, quick := r.create("slow"), r.create("quick")
	id := store.ID(slow.ID)
	r.engine.slow.Store(&id)
	bound := make(chan error, 1)
	go func() {
		_, err := r.service.Bind(context.Background(), slow.ID, iqn("h1"))
		bound <- err
	}()
	await(t, r.engine.opening)
	l := r.bind(quick, "h2")
	s := r.login("h2", 1)
	s.settle(l)
	s.logout()
	require.Empty(t, r.target.Stats()[1:])
	r.engine.letGo()
	require.NoError(t, await(t, bound))
}

// TestRoutesChangeUnderLoad binds, unbinds and logs in and out beside two hosts
// whose I/O never notices. Run it with -race.
func TestRoutesChangeUnderLoad(t *testing.T) {
	r := newRig(t, time.Minute)
	fixed := r.create("fixed")
	var volumes []vvol.VirtualVolume
	for i := range 4 {
		volumes = append(volumes, r.create(fmt.Sprint(i)))
	}
	stop := make(chan struct{})
	var load, churn sync.WaitGroup
	for _, host := range []string{"h1", "h2"} {
		l, s := r.bind(fixed, host), r.login(host, 1)
		defer s.logout()
		s.settle(l)
		load.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					if n == 0 {
						t.Error("no command ran")
					}
					return
				default:
				}
				if o := s.run(l, read...); o.String() != "good" || len(o.data) != 512 {
					t.Errorf("%s: %v", host, o)
					return
				}
			}
		})
	}
	const seed = 42
	t.Log("seed", seed)
	for i, v := range volumes {
		churn.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			for range 60 {
				host := []string{"h1", "h2", "h3"}[random.IntN(3)]
				s := r.login(host, byte(10+i))
				b, err := r.service.Bind(context.Background(), v.ID, iqn(host))
				if err != nil {
					t.Error(err)
					return
				}
				at := scsi.SubsidiaryLUN(peAddress, b.Secondary)
				s.run(at, 0)
				s.run(at, read...)
				s.luns(peAddress, 0)
				if random.IntN(2) == 0 {
					s.logout()
				}
				if err := r.service.Unbind(context.Background(), v.ID, iqn(host)); err != nil {
					t.Error(err)
					return
				}
				s.logout()
			}
		})
	}
	churn.Wait()
	close(stop)
	load.Wait()
	require.Len(t, r.target.units, 1)
	require.Len(t, r.target.hosts, 2)
	require.Len(t, r.target.nexuses, 2)
	require.NoError(t, r.service.Check(t.Context()))
}

// A host that declares that it has two initiators reaches its bindings by both, under the
// handles that they had; of two bindings of a volume under one handle one stays, and I/O
// through either goes on.
func TestDeclaredHostReachesByAllInitiators(t *testing.T) {
	r := newRig(t, time.Minute)
	v, w := r.create("v"), r.create("w")
	a, b, other := r.login("a", 1), r.login("b", 1), r.login("c", 1)
	la := r.bind(v, "a")
	require.Equal(t, la, r.bind(v, "b"))
	lw := r.bind(w, "a")
	a.settle(la, lw)
	b.settle(la, peAddress)
	other.settle(peAddress)
	a.settle(peAddress)
	require.NotEqual(t, "good", b.ready(lw))
	running := b.begin(la, readSlow...)
	await(t, r.engine.reading)
	declared := make(chan error, 1)
	go func() {
		_, err := r.service.DeclareHost(t.Context(), "guid", []string{iqn("a"), iqn("b")}, false)
		declared <- err
	}()
	require.Eventually(t, func() bool {
		s := b.ready(lw)
		return s == "6/29/00" || s == "good"
	}, 20*time.Second, time.Millisecond)
	require.Equal(t, "good", b.run(la, read...).String(), "while a command of the binding that goes is running")
	r.engine.letGo()
	require.Equal(t, "good", await(t, running).String())
	require.NoError(t, await(t, declared))
	require.Equal(t, "good", b.run(la, read...).String())
	require.Equal(t, "6/3F/0E", b.ready(peAddress))
	require.Equal(t, "good", other.ready(peAddress), "no business of another host")
	require.Equal(t, a.luns(peAddress, 0), b.luns(peAddress, 0))
	require.Len(t, r.service.Bindings(vvol.BindingFilter{}), 2)
	r.unbind(v, "b")
	require.Equal(t, "5/25/00", a.ready(la))
	require.Equal(t, "5/25/00", b.ready(la))
}
