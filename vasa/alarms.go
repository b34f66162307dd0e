package vasa

import (
	"context"
	"errors"
	"slices"
	"strconv"
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

// volumeAlarms is how many volumes a client hears of at a time: its queue has room for the
// alarms of the array and of all containers besides.
const volumeAlarms = session.MaxQueued - 300

// alarms are those of the array and of the domain, the gravest first; those that a client
// was told stay as told, with the time since when. What more than volumeAlarms there are of
// volumes has to wait until some are over.
func (p *Provider) alarms(ctx context.Context, told map[string]wire.AnyAlarm) (list []alarm, err error) {
	if err := p.unmanageable(); err != nil {
		a := p.newAlarm(wire.AlarmTypeManageability, wire.EntityTypeStorageArray, p.arrayID(), wire.AlarmStatusRed, "dev.vvsim.alarm.array.unmanageable",
			pair("array", p.o.Array.Name), pair("reason", err.Error()))
		list = append(list, a.unlessTold(told))
	}
	volumes := 0
	for _, x := range p.ranked(told) {
		volume := x.Kind == vvol.VVolCompliance
		if volume && volumes == volumeAlarms {
			break
		}
		a := &alarm{domainKey(x), told[domainKey(x)]}
		if a.AnyAlarm == nil || string(*a.Base().Status) != string(x.Status) {
			a, err = p.domainAlarm(ctx, x)
		}
		switch {
		case errors.Is(err, vvol.ErrNotFound):
			err = nil // deleted since it was looked at
			continue
		case err != nil:
			return nil, err
		case a == nil:
			continue
		case volume:
			volumes++
		}
		list = append(list, *a)
	}
	return list, nil
}

// ranked lists the domain's alarms: containers before volumes, Red before Yellow, and
// what a client was told before what is new, so that nothing is over because there is more.
func (p *Provider) ranked(told map[string]wire.AnyAlarm) []vvol.Alarm {
	all := p.o.Service.Alarms()
	rank := func(a vvol.Alarm) (n int) {
		if a.Kind == vvol.VVolCompliance {
			n += 4
		}
		if a.Status != vvol.Red {
			n += 2
		}
		if told[domainKey(a)] == nil {
			n++
		}
		return n
	}
	slices.SortStableFunc(all, func(a, b vvol.Alarm) int { return rank(a) - rank(b) })
	return all
}

func domainKey(a vvol.Alarm) string {
	switch a.Kind {
	case vvol.ContainerThreshold:
		return alarmKey(wire.AlarmTypeSpaceCapacity, a.Object)
	case vvol.VVolCompliance:
		return alarmKey(wire.AlarmTypeCompliance, a.Object)
	}
	return a.Kind + " " + a.Object // no alarm of VASA
}

// domainAlarm is one of the domain's as clients get it; nil for what they have not to know.
func (p *Provider) domainAlarm(ctx context.Context, x vvol.Alarm) (a *alarm, err error) {
	switch x.Kind {
	case vvol.ContainerThreshold:
		a, err = p.spaceAlarm(ctx, x)
	case vvol.VVolCompliance:
		a, err = p.complianceAlarm(ctx, x)
	}
	if a != nil {
		a.Base().AlarmTimeStamp = new(x.Since.UTC())
	}
	return a, err
}

// spaceAlarm is about a container (vasa.md 8.4).
func (p *Provider) spaceAlarm(ctx context.Context, x vvol.Alarm) (*alarm, error) {
	k, err := p.o.Service.Container(x.Object)
	if err != nil {
		return nil, err
	}
	u, err := p.o.Service.ContainerUsage(ctx, x.Object)
	if err != nil {
		return nil, err
	}
	message, parameters := "dev.vvsim.alarm.container.full", []wire.NameValuePair{pair("container", k.Name), pair("percent", strconv.Itoa(int(float64(u.Used)/float64(k.Size)*100)))}
	if x.Status != vvol.Red {
		message, parameters = "dev.vvsim.alarm.container.threshold", append(parameters, pair("threshold", strconv.Itoa(u.WarnPercent)))
	}
	a := p.newAlarm(wire.AlarmTypeSpaceCapacity, wire.EntityTypeStorageContainer, x.Object, wire.AlarmStatus(x.Status), message, parameters...)
	a.Base().ContainerID = &x.Object
	return &a, nil
}

// complianceAlarm is about a volume that is not as its policy asks, with what is so now;
// nil if it is by now, or has no policy to comply with (vasa.md 7.3).
func (p *Provider) complianceAlarm(ctx context.Context, x vvol.Alarm) (*alarm, error) {
	v, err := p.volume(x.Object)
	if err != nil || v.Policy == (vvol.Policy{}) {
		return nil, err
	}
	c, err := p.o.Service.Compliance(ctx, v.ID)
	if err != nil || c.Compliant {
		return nil, err
	}
	a := p.newAlarm(wire.AlarmTypeCompliance, wire.EntityTypeVirtualVolumeInfo, x.Object, wire.AlarmStatus(x.Status), "dev.vvsim.alarm.volume.compliance",
		pair("volume", v.Name), pair("profile", c.Policy.ProfileID))
	a.Base().ContainerID = new(v.Container.String())
	a.AnyAlarm = &wire.ComplianceAlarm{StorageAlarm: *a.Base(), ComplianceStatus: wire.ComplianceStatusNonCompliant, ProfileID: c.Policy.ProfileID,
		ViolatedPolicy: policy.Violated(c.Violations)}
	return &a, nil
}

// unlessTold is the alarm as it was told, if its status is the same.
func (a alarm) unlessTold(told map[string]wire.AnyAlarm) alarm {
	if old := told[a.key]; old != nil && *old.Base().Status == *a.Base().Status {
		a.AnyAlarm = old
	}
	return a
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
		if now, err = p.alarms(ctx, told); err != nil {
			return told
		}
		current := make(map[string]wire.AnyAlarm, len(now))
		for _, a := range now {
			current[a.key] = a.AnyAlarm
			if told[a.key] != a.AnyAlarm {
				client.Alarms.Put(a.key, a.AnyAlarm)
			}
		}
		for key, a := range told {
			if current[key] == nil {
				client.Alarms.Put(key, over(a, p.o.Clock().UTC()))
			}
		}
		p.arrayChanged(client, told, current)
		list, err = client.Alarms.After(*q.LastAlarmID, func() (all []wire.AnyAlarm) {
			for _, a := range now {
				all = append(all, a.AnyAlarm)
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
