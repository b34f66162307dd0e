package vasa

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/session"
	"vvsim/vasa/vasatest"
	"vvsim/vasa/wire"
	"vvsim/vvol"
)

func TestContainerEvents(t *testing.T) {
	ctx, l := t.Context(), newLab(t, nil)
	c, last := l.vcenter("one"), new(int64(-1))
	require.Empty(t, l.poll(c, last), "a new client is told of what happens from now on")
	k, err := l.service.CreateContainer(ctx, vvol.ContainerSpec{Name: "gold", Size: 64 * mib})
	require.NoError(t, err)
	l.create("disk", 16) // volumes are no news
	id := k.ID.String()
	list := do[wire.GetEventsResponse](l, c, &wire.GetEvents{LastEventID: last}).Return
	require.Len(t, list, 2)
	b := list[0].Base()
	require.Equal(t, wire.StorageEvent{ArrayID: new(l.arrayID()), EventConfigType: new(wire.EventConfigTypeNew), EventID: new(int64(1)), EventObjType: new(wire.EntityTypeStorageContainer),
		EventTimeStamp: b.EventTimeStamp, EventType: new(wire.EventTypeConfig), MessageID: new("dev.vvsim.event.container.new"), ObjectID: &id,
		ParameterList: []wire.NameValuePair{{ParameterName: new("container"), ParameterValue: new("gold")}}}, *b)
	require.WithinDuration(t, l.now(), *b.EventTimeStamp, 1e10)
	require.Equal(t, wire.EventTypePolicy, *list[1].Base().EventType)
	require.EqualValues(t, wire.PolicyObjectResource, *list[1].Base().EventObjType)
	*last = 2
	for size := range uint64(3) {
		_, err = l.service.ResizeContainer(ctx, id, (65+size)*mib)
		require.NoError(t, err)
	}
	require.NoError(t, l.service.DeleteContainer(ctx, id))
	require.Equal(t, []string{"Config Update " + id, "Config Delete " + id, "Policy Delete " + id}, l.poll(c, last), "updates are one")
	require.EqualValues(t, 5, *last)
	require.Empty(t, l.poll(c, last))
	*last = -1
	require.Empty(t, l.poll(c, last), "all was acknowledged")

	l.fault(c, "InvalidArgument", &wire.GetEvents{})
	l.fault(c, "InvalidArgument", &wire.GetEvents{LastEventID: new(int64(-2))})
	l.fault(c, "InvalidArgument", &wire.GetEvents{LastEventID: new(int64(1) << 62)})
	late := l.vcenter("two")
	l.fault(late, "LostEvent", &wire.GetEvents{LastEventID: new(int64(3))})
	l.fault(l.issued("nobody"), "InvalidSession", &wire.GetEvents{LastEventID: new(int64(-1))})
}

// TestEventsPerClient: each has its own numbers and its own choice, and what it did not
// acknowledge comes again when it starts over.
func TestEventsPerClient(t *testing.T) {
	ctx, l := t.Context(), newLab(t, nil)
	l.set(Knobs{EventsFromZero: true})
	c, last := l.vcenter("one"), new(int64(-1))
	quiet := l.issued("quiet")
	do[wire.SetContextResponse](l, quiet, &wire.SetContext{UsageContext: &wire.UsageContext{VCGUID: new("quiet"), SubscribeEvent: []wire.EventType{wire.EventTypePolicy}}})
	k, err := l.service.CreateContainer(ctx, vvol.ContainerSpec{Name: "gold", Size: 64 * mib})
	require.NoError(t, err)
	for range 2 {
		*last = -1
		require.Equal(t, []string{"Config New " + k.ID.String(), "Policy New " + k.ID.String()}, l.poll(c, last))
		require.EqualValues(t, 1, *last)
	}
	l.fault(c, "LostEvent", &wire.GetEvents{LastEventID: new(int64(0))})
	*last = -1
	require.Equal(t, []string{"Policy New " + k.ID.String()}, l.poll(quiet, last))
	require.EqualValues(t, 0, *last)
	events, _, _ := l.since(0)
	for _, e := range events {
		require.Nil(t, e.EventID, "numbers are the client's alone")
	}
	require.Len(t, events, 2)
	l.host("a") // a session does not disturb those of others
	require.Empty(t, l.poll(quiet, last))
	do[wire.SetContextResponse](l, quiet, &wire.SetContext{UsageContext: &wire.UsageContext{VCGUID: new("QUIET")}})
	require.Empty(t, l.poll(quiet, last), "numbers go on in a new session")
}

// TestManyEvents: more than one answer holds, then more than the feed keeps.
func TestManyEvents(t *testing.T) {
	ctx, l := t.Context(), newLab(t, nil)
	c, last := l.vcenter("one"), new(int64(-1))
	require.Empty(t, l.poll(c, last))
	toggle := func(n int) {
		for i := range n {
			k, err := l.service.CreateContainer(ctx, vvol.ContainerSpec{Name: fmt.Sprintf("c%d", i), Size: mib})
			require.NoError(t, err)
			require.NoError(t, l.service.DeleteContainer(ctx, k.ID.String()))
		}
	}
	toggle(60) // 4 events each
	total := 0
	for n := 1; n > 0; total += n {
		if n = len(l.poll(c, last)); n > session.MaxAnswer {
			t.Fatalf("%d events in one answer", n)
		}
	}
	require.Equal(t, 240, total)
	toggle(session.MaxQueued/4 + 1)
	l.fault(c, "LostEvent", &wire.GetEvents{LastEventID: last})
	*last = -1
	require.Len(t, l.poll(c, last), session.MaxAnswer)
}

// TestBuriedEvents: a storm of volumes hides nothing while requests come, and what it hid
// while none came is told as lost.
func TestBuriedEvents(t *testing.T) {
	ctx, l := t.Context(), newLab(t, nil)
	c, last := l.vcenter("one"), new(int64(-1))
	require.Empty(t, l.poll(c, last))
	v := l.create("disk", 16)
	storm := func(during func()) {
		for i := range 5000 {
			_, err := l.service.Update(ctx, v.ID, vvol.UpdateSpec{Name: new(fmt.Sprint(i))})
			require.NoError(t, err)
			if i%400 == 0 {
				during()
			}
		}
	}
	k, err := l.service.CreateContainer(ctx, vvol.ContainerSpec{Name: "gold", Size: mib})
	require.NoError(t, err)
	host := l.host("a")
	storm(func() { do[wire.QueryStorageContainerResponse](l, host, &wire.QueryStorageContainer{}) })
	require.Equal(t, []string{"Config New " + k.ID.String(), "Policy New " + k.ID.String()}, l.poll(c, last))
	storm(func() {})
	l.fault(c, "LostEvent", &wire.GetEvents{LastEventID: last})
	*last = -1
	require.Len(t, l.poll(c, last), 2, "what was not acknowledged")
	require.Empty(t, l.poll(c, last))
	require.NoError(t, l.service.DeleteContainer(ctx, k.ID.String()))
	require.Len(t, l.poll(c, last), 2, "and it goes on")
}

// TestRebindEventCopied: events of all types are numbered for each client alone.
func TestRebindEventCopied(t *testing.T) {
	e := &wire.RebindEvent{VVolID: []string{"rfc4122.269d3378-1ca6-4175-a18f-6d4839e5c746"}}
	list := numberedEvents([]session.Numbered[wire.AnyEvent]{{ID: 7, Value: e}})
	got, ok := list[0].(*wire.RebindEvent)
	require.True(t, ok)
	require.EqualValues(t, 7, *got.EventID)
	require.Equal(t, e.VVolID, got.VVolID)
	require.Nil(t, e.EventID)
}

// alarmsAfter asks for alarms, as "type status object".
func (l *lab) alarmsAfter(c *vasatest.Client, last *int64) (told []string) {
	l.t.Helper()
	for _, a := range do[wire.GetAlarmsResponse](l, c, &wire.GetAlarms{LastAlarmID: last}).Return {
		b := a.Base()
		told = append(told, string(*b.AlarmType)+" "+string(*b.Status)+" "+*b.ObjectID)
		*last = *b.AlarmID
	}
	return told
}

func TestManageabilityAlarm(t *testing.T) {
	var mu sync.Mutex
	var broken error
	l := newLab(t, func(o *Options) { o.Health = func() error { mu.Lock(); defer mu.Unlock(); return broken } })
	set := func(err error) { mu.Lock(); defer mu.Unlock(); broken = err }
	c, last, events := l.vcenter("one"), new(int64(-1)), new(int64(-1))
	require.Empty(t, l.alarmsAfter(c, last))
	require.Empty(t, l.poll(c, events))
	set(errors.New("the engine does not answer"))
	require.Equal(t, []string{"Manageability Red " + l.arrayID()}, l.alarmsAfter(c, last))
	require.Equal(t, []string{"Config Update " + l.arrayID()}, l.poll(c, events))
	require.Empty(t, l.alarmsAfter(c, last), "told once")
	late := l.vcenter("two")
	require.Equal(t, []string{"Manageability Red " + l.arrayID()}, l.alarmsAfter(late, new(int64(-1))), "what is red now")
	*last = -1
	require.Equal(t, []string{"Manageability Red " + l.arrayID()}, l.alarmsAfter(c, last))
	require.EqualValues(t, 1, *last)
	set(nil)
	require.Equal(t, []string{"Manageability Green " + l.arrayID()}, l.alarmsAfter(c, last))
	require.Equal(t, []string{"Config Update " + l.arrayID()}, l.poll(c, events))
	require.Empty(t, l.alarmsAfter(c, last))
	*last = -1
	require.Empty(t, l.alarmsAfter(c, last), "green is nothing to start with")
	require.Empty(t, l.poll(c, events))

	l.fault(c, "InvalidArgument", &wire.GetAlarms{})
	l.fault(c, "InvalidArgument", &wire.GetAlarms{LastAlarmID: new(int64(-7))})
	l.fault(c, "InvalidArgument", &wire.GetAlarms{LastAlarmID: new(int64(1) << 62)})
	l.fault(l.vcenter("three"), "LostAlarm", &wire.GetAlarms{LastAlarmID: new(int64(3))})
	l.fault(l.issued("nobody"), "InvalidSession", &wire.GetAlarms{LastAlarmID: new(int64(-1))})
}

// container makes a container that warns at half, and holds some MB.
func (l *lab) container(name string, mb, used uint64) (vvol.StorageContainer, vvol.VirtualVolume) {
	k, err := l.service.CreateContainer(l.t.Context(), vvol.ContainerSpec{Name: name, Size: mb * mib, ServiceLevels: []vvol.ServiceLevel{{Name: "a", Thin: true, WarnPercentUsed: 90}, {Name: "b", Thin: true, WarnPercentUsed: 50}}})
	require.NoError(l.t, err)
	v, err := l.service.Create(l.t.Context(), vvol.CreateSpec{Container: name, Size: mb * mib, Name: name})
	require.NoError(l.t, err)
	l.fill(v.ID, 0, used)
	return k, v
}

// tend has the domain look for alarms, as the array does every 10 s.
func (l *lab) tend() {
	l.t.Helper()
	require.NoError(l.t, l.service.Tend(l.t.Context()))
}

// fill writes the MB from one to another.
func (l *lab) fill(id vvol.ID, from, to uint64) {
	for at := from * mib; at < to*mib; at += 4096 {
		l.write(id, at, 3)
	}
}

// noncompliant makes a volume that has not what its policy asks.
func (l *lab) noncompliant(name string) vvol.VirtualVolume {
	v, err := l.service.Create(l.t.Context(), vvol.CreateSpec{Container: "default", Size: mib, Name: name,
		PolicySpec: vvol.PolicySpec{Policy: vvol.Policy{ProfileID: "f7a2b1de-0000-4000-8000-000000000001", Generation: 1}, Quality: vvol.QualitySpec{MaxIOPS: new(uint64(100))}}})
	require.NoError(l.t, err)
	l.iops(v.ID, 200)
	return v
}

// iops changes a volume's limit, and not its policy.
func (l *lab) iops(id vvol.ID, limit uint64) {
	_, err := l.service.AdjustPolicy(l.t.Context(), id, vvol.PolicySpec{Quality: vvol.QualitySpec{MaxIOPS: &limit}})
	require.NoError(l.t, err)
}

func TestSpaceAlarms(t *testing.T) {
	l := newLab(t, nil)
	c, last := l.vcenter("one"), new(int64(-1))
	k, v := l.container("small", 8, 3)
	id := k.ID.String()
	require.Empty(t, l.alarmsAfter(c, last))
	l.fill(v.ID, 3, 5)
	l.tend()
	list := do[wire.GetAlarmsResponse](l, c, &wire.GetAlarms{LastAlarmID: last}).Return
	require.Len(t, list, 1)
	b := list[0].Base()
	require.Equal(t, wire.StorageAlarm{AlarmID: new(int64(1)), AlarmTimeStamp: b.AlarmTimeStamp, AlarmType: new(wire.AlarmTypeSpaceCapacity), ContainerID: &id,
		MessageID: new("dev.vvsim.alarm.container.threshold"), ObjectID: &id, ObjectType: new(wire.EntityTypeStorageContainer), Status: new(wire.AlarmStatusYellow),
		ParameterList: []wire.NameValuePair{pair("container", "small"), pair("percent", "62"), pair("threshold", "50")}}, *b)
	*last = 1
	l.fill(v.ID, 5, 8)
	l.tend()
	require.Equal(t, []string{"SpaceCapacity Red " + id}, l.alarmsAfter(c, last))
	l.tend()
	require.Empty(t, l.alarmsAfter(c, last))
	_, err := l.service.ResizeContainer(t.Context(), id, 64*mib)
	require.NoError(t, err)
	l.tend()
	require.Equal(t, []string{"SpaceCapacity Green " + id}, l.alarmsAfter(c, last))
	_, err = l.service.ResizeContainer(t.Context(), id, 8*mib)
	require.NoError(t, err)
	l.tend()
	require.Equal(t, []string{"SpaceCapacity Red " + id}, l.alarmsAfter(c, last))
	require.NoError(t, l.service.Delete(t.Context(), v.ID))
	require.NoError(t, l.service.DeleteContainer(t.Context(), id))
	l.tend()
	require.Equal(t, []string{"SpaceCapacity Green " + id}, l.alarmsAfter(c, last), "what is gone is not red")
}

func TestComplianceAlarms(t *testing.T) {
	l := newLab(t, nil)
	c, last := l.vcenter("one"), new(int64(-1))
	l.create("without policy", 1)
	v := l.noncompliant("disk")
	l.tend()
	list := do[wire.GetAlarmsResponse](l, c, &wire.GetAlarms{LastAlarmID: last}).Return
	require.Len(t, list, 1)
	a, ok := list[0].(*wire.ComplianceAlarm)
	require.True(t, ok, "%T", list[0])
	require.Equal(t, v.ID.String(), *a.ObjectID)
	require.Equal(t, v.Container.String(), *a.ContainerID)
	require.Equal(t, v.Policy.ProfileID, a.ProfileID)
	require.Equal(t, wire.ComplianceStatusNonCompliant, a.ComplianceStatus)
	require.Len(t, a.ViolatedPolicy, 1)
	require.Equal(t, "maxIops", a.ViolatedPolicy[0].CurrentValue.CapabilityID.ID)
	*last = *a.AlarmID
	l.iops(v.ID, 100)
	l.tend()
	list = do[wire.GetAlarmsResponse](l, c, &wire.GetAlarms{LastAlarmID: last}).Return
	require.Len(t, list, 1)
	a, ok = list[0].(*wire.ComplianceAlarm)
	require.True(t, ok, "%T", list[0])
	require.Equal(t, wire.AlarmStatusGreen, *a.Status)
	require.Equal(t, wire.ComplianceStatusCompliant, a.ComplianceStatus)
	require.Empty(t, a.ViolatedPolicy)
}

// TestManyAlarms: more than a queue holds do not make a client start over for ever.
func TestManyAlarms(t *testing.T) {
	l := newLab(t, nil)
	c, last := l.vcenter("one"), new(int64(-1))
	for i := range session.MaxQueued + 1 {
		l.noncompliant(fmt.Sprint(i))
	}
	k, _ := l.container("full", 4, 4)
	for range 5 { // each finds some
		l.tend()
	}
	told := l.alarmsAfter(c, last)
	require.Equal(t, "SpaceCapacity Red "+k.ID.String(), told[0], "the gravest first")
	for len(told) < 1+volumeAlarms {
		more := l.alarmsAfter(c, last)
		require.NotEmpty(t, more)
		told = append(told, more...)
	}
	require.Len(t, told, 1+volumeAlarms)
	require.Empty(t, l.alarmsAfter(c, last))
	other, _ := l.container("full too", 4, 4)
	l.tend()
	require.Equal(t, []string{"SpaceCapacity Red " + other.ID.String()}, l.alarmsAfter(c, last), "and no volume is Green for that")
}

// TestPollsBesideEachOther: clients poll at the same time as things happen, and all are
// told of all in order.
func TestPollsBesideEachOther(t *testing.T) {
	ctx, l := t.Context(), newLab(t, nil)
	const containers = 40
	var group sync.WaitGroup
	for _, name := range []string{"one", "two", "three"} {
		c, last := l.vcenter(name), new(int64(-1))
		require.Empty(t, l.poll(c, last))
		group.Go(func() {
			for told := 0; told < 2*containers; {
				for _, e := range do[wire.GetEventsResponse](l, c, &wire.GetEvents{LastEventID: last}).Return {
					told++
					if got := *e.Base().EventID; got != int64(told) {
						t.Errorf("event %d in place of %d", got, told)
						return
					}
					*last = int64(told)
				}
			}
		})
	}
	for i := range containers {
		_, err := l.service.CreateContainer(ctx, vvol.ContainerSpec{Name: fmt.Sprintf("c%d", i), Size: mib})
		require.NoError(t, err)
	}
	group.Wait()
}
