package vasa

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"vvsim/vasa/policy"
	"vvsim/vasa/session"
	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// alarm is the state of an object that is not as it should be.
type alarm struct {
	key string // of the object and the kind of alarm
	wire.AnyAlarm
}

// alarmInterval is how long measured alarms stand for all clients, which poll every 10 s
// each (vasa.md 1.6).
const alarmInterval = 5 * time.Second

// complianceStep is how many volumes are newly looked at in that time: some 20 µs each,
// which a poll waits for.
const complianceStep = 1000

// board has the alarms that were measured last.
type board struct {
	last atomic.Pointer[measurement]

	mu      sync.Mutex // held while they are measured: by one client for all; guards what follows
	volumes map[vvol.ID]alarm
	round   []vvol.ID // volumes with a policy that are still to be looked at
}

// measurement is never changed.
type measurement struct {
	at   time.Time
	list []alarm
}

// alarms are all that are not green, the gravest first. What more there are than a
// queue holds has to wait until some are over.
func (p *Provider) alarms(ctx context.Context) ([]alarm, error) {
	var list []alarm
	if err := p.unmanageable(); err != nil {
		list = append(list, p.newAlarm(wire.AlarmTypeManageability, wire.EntityTypeStorageArray, p.arrayID(), wire.AlarmStatusRed, "dev.vvsim.alarm.array.unmanageable",
			pair("array", p.o.Array.Name), pair("reason", err.Error())))
	}
	measured, err := p.measured(ctx)
	if err != nil {
		return nil, err
	}
	list = append(list, measured...)
	return list[:min(len(list), session.MaxQueued)], nil
}

// measured are the alarms about containers, then those about volumes. While one client
// measures, others are told what was measured before.
func (p *Provider) measured(ctx context.Context) ([]alarm, error) {
	b := &p.board
	if b.last.Load() == nil {
		b.mu.Lock()
	} else if p.o.Clock().Sub(b.last.Load().at) < alarmInterval || !b.mu.TryLock() {
		return b.last.Load().list, nil
	}
	defer b.mu.Unlock()
	now := p.o.Clock()
	if m := b.last.Load(); m != nil && now.Sub(m.at) < alarmInterval {
		return m.list, nil // measured while this one waited
	}
	containers, err := p.spaceAlarms(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.lookAtVolumes(ctx); err != nil {
		return nil, err
	}
	volumes := slices.SortedFunc(maps.Values(b.volumes), func(a, c alarm) int { return strings.Compare(a.key, c.key) })
	m := &measurement{now, slices.Concat(containers, volumes)}
	b.last.Store(m)
	return m.list, nil
}

// spaceAlarms are about containers (vasa.md 8.4): Red without a whole MB left, which is
// what clients count in, and Yellow from the lowest threshold of its service levels on.
func (p *Provider) spaceAlarms(ctx context.Context) (red []alarm, err error) {
	var yellow []alarm
	for _, k := range p.o.Service.Containers() {
		u, err := p.o.Service.ContainerUsage(ctx, k.ID.String())
		if errors.Is(err, vvol.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		id, percent := k.ID.String(), float64(u.Used)/float64(k.Size)*100
		parameters := []wire.NameValuePair{pair("container", k.Name), pair("percent", strconv.Itoa(int(percent)))}
		switch warn := warnPercent(k); {
		case u.Used >= k.Size || k.Size-u.Used < mib:
			red = append(red, p.newAlarm(wire.AlarmTypeSpaceCapacity, wire.EntityTypeStorageContainer, id, wire.AlarmStatusRed, "dev.vvsim.alarm.container.full", parameters...))
		case warn > 0 && percent >= float64(warn):
			yellow = append(yellow, p.newAlarm(wire.AlarmTypeSpaceCapacity, wire.EntityTypeStorageContainer, id, wire.AlarmStatusYellow, "dev.vvsim.alarm.container.threshold",
				append(parameters, pair("threshold", strconv.Itoa(warn)))...))
		}
	}
	for _, a := range append(red, yellow...) {
		a.Base().ContainerID = a.Base().ObjectID
	}
	return append(red, yellow...), nil
}

// warnPercent is the lowest threshold of a container's service levels; 0: none has one.
func warnPercent(k vvol.StorageContainer) (lowest int) {
	for _, l := range k.ServiceLevels {
		if l.WarnPercentUsed > 0 && (lowest == 0 || l.WarnPercentUsed < lowest) {
			lowest = l.WarnPercentUsed
		}
	}
	return lowest
}

// lookAtVolumes looks at the volumes that have an alarm, so that it is over soon, and at
// the next ones of a round through all that have a policy: what has none has nothing to
// comply with (vasa.md 7.3). The board is locked.
func (p *Provider) lookAtVolumes(ctx context.Context) error {
	b := &p.board
	if len(b.round) == 0 {
		for _, v := range p.o.Service.VVols(vvol.Filter{}) {
			if v.Policy != (vvol.Policy{}) {
				b.round = append(b.round, v.ID)
			}
		}
	}
	n := min(len(b.round), complianceStep)
	look := slices.AppendSeq(b.round[:n:n], maps.Keys(b.volumes))
	b.round = b.round[n:]
	if b.volumes == nil {
		b.volumes = map[vvol.ID]alarm{}
	}
	for _, id := range look {
		a, err := p.complianceAlarm(ctx, id)
		switch {
		case err != nil:
			return err
		case a == nil:
			delete(b.volumes, id)
		case len(b.volumes) < session.MaxQueued:
			b.volumes[id] = *a
		}
	}
	return nil
}

// complianceAlarm is about a volume that is not as its policy asks; nil if it is, or is
// gone. It is Yellow: I/O goes on.
func (p *Provider) complianceAlarm(ctx context.Context, id vvol.ID) (*alarm, error) {
	c, err := p.o.Service.Compliance(ctx, id)
	if errors.Is(err, vvol.ErrNotFound) || err == nil && (c.Compliant || c.Policy == (vvol.Policy{})) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v, err := p.o.Service.VVol(id)
	if errors.Is(err, vvol.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a := p.newAlarm(wire.AlarmTypeCompliance, wire.EntityTypeVirtualVolumeInfo, id.String(), wire.AlarmStatusYellow, "dev.vvsim.alarm.volume.compliance",
		pair("volume", v.Name), pair("profile", c.Policy.ProfileID))
	a.Base().ContainerID = new(v.Container.String())
	a.AnyAlarm = &wire.ComplianceAlarm{StorageAlarm: *a.Base(), ComplianceStatus: wire.ComplianceStatusNonCompliant, ProfileID: c.Policy.ProfileID,
		ViolatedPolicy: policy.Violated(c.Violations)}
	return &a, nil
}

// pair is a parameter of a message.
func pair(name, value string) wire.NameValuePair {
	return wire.NameValuePair{ParameterName: &name, ParameterValue: &value}
}

func alarmKey(t wire.AlarmType, object string) string { return string(t) + " " + object }

func (p *Provider) newAlarm(t wire.AlarmType, of wire.EntityType, object string, status wire.AlarmStatus, message string, parameters ...wire.NameValuePair) alarm {
	return alarm{alarmKey(t, object), &wire.StorageAlarm{AlarmTimeStamp: new(p.o.Clock().UTC()), AlarmType: &t, MessageID: &message, ObjectID: &object, ObjectType: &of,
		ParameterList: parameters, Status: &status}}
}

// getAlarms tells a client which alarms are new, changed or over since it was told last;
// with -1 all that are not green (vasa.md 1.6).
func (p *Provider) getAlarms(ctx context.Context, c *caller, q *wire.GetAlarms) (*wire.GetAlarmsResponse, error) {
	if q.LastAlarmID == nil {
		return nil, invalid("lastAlarmId is missing")
	}
	client := c.client()
	var list []session.Numbered[wire.AnyAlarm]
	var err error
	client.UpdateAlarms(func(told map[string]wire.AnyAlarm) map[string]wire.AnyAlarm {
		var now []alarm
		if now, err = p.alarms(ctx); err != nil {
			return told
		}
		current := make(map[string]wire.AnyAlarm, len(now))
		for _, a := range now {
			if old := told[a.key]; old != nil && *old.Base().Status == *a.Base().Status {
				current[a.key] = old // as it was told, with the time since when
				continue
			}
			client.Alarms.Put(a.key, a.AnyAlarm)
			current[a.key] = a.AnyAlarm
		}
		for key, a := range told {
			if current[key] == nil {
				client.Alarms.Put(key, over(a, p.o.Clock().UTC()))
			}
		}
		p.arrayChanged(client, told, current)
		list, err = client.Alarms.After(*q.LastAlarmID, func() (all []wire.AnyAlarm) {
			for _, a := range now {
				all = append(all, current[a.key])
			}
			return all
		})
		return current
	})
	if err != nil {
		return nil, err
	}
	r := &wire.GetAlarmsResponse{}
	for _, n := range list {
		r.Return = append(r.Return, copied(n.Value, func(b *wire.StorageAlarm) { b.AlarmID = &n.ID }))
	}
	return r, nil
}

// arrayChanged tells a client that the array's priority has changed, which goes with the
// alarm that it cannot be managed (vasa.md 8.4).
func (p *Provider) arrayChanged(client *session.Client, told, current map[string]wire.AnyAlarm) {
	key := alarmKey(wire.AlarmTypeManageability, p.arrayID())
	if (told[key] != nil) == (current[key] != nil) || !client.Wants(wire.EventTypeConfig) {
		return
	}
	e := p.arrayEvent()
	client.Events.Put(eventKey(e), e)
}

func (p *Provider) arrayEvent() *wire.StorageEvent {
	return &wire.StorageEvent{ArrayID: new(p.arrayID()), EventConfigType: new(wire.EventConfigTypeUpdate), EventObjType: new(wire.EntityTypeStorageArray),
		EventTimeStamp: new(p.o.Clock().UTC()), EventType: new(wire.EventTypeConfig), MessageID: new("dev.vvsim.event.array.update"), ObjectID: new(p.arrayID()),
		ParameterList: []wire.NameValuePair{pair("array", p.o.Array.Name)}}
}

// copied is an alarm with changes.
func copied(a wire.AnyAlarm, change func(*wire.StorageAlarm)) wire.AnyAlarm {
	if c, ok := a.(*wire.ComplianceAlarm); ok {
		c = new(*c)
		change(&c.StorageAlarm)
		return c
	}
	b := new(*a.Base())
	change(b)
	return b
}

// over is the end of an alarm.
func over(a wire.AnyAlarm, at time.Time) wire.AnyAlarm {
	green := copied(a, func(b *wire.StorageAlarm) {
		b.Status, b.AlarmTimeStamp, b.ParameterList = new(wire.AlarmStatusGreen), &at, slices.Clone(b.ParameterList)
	})
	if c, ok := green.(*wire.ComplianceAlarm); ok {
		c.ComplianceStatus, c.ViolatedPolicy = wire.ComplianceStatusCompliant, nil
	}
	return green
}
