package vasa

import (
	"context"
	"slices"
	"time"

	"vvsim/vasa/session"
	"vvsim/vasa/wire"
)

// alarm is the state of an object that is not as it should be.
type alarm struct {
	key string // of the object and the kind of alarm
	wire.AnyAlarm
}

// alarms are all that are not green, the gravest first. What more there are than a
// queue holds has to wait until some are over.
func (p *Provider) alarms() (list []alarm) {
	if err := p.unmanageable(); err != nil {
		list = append(list, p.newAlarm(wire.AlarmTypeManageability, wire.EntityTypeStorageArray, p.arrayID(), wire.AlarmStatusRed, "dev.vvsim.alarm.array.unmanageable",
			wire.NameValuePair{ParameterName: new("array"), ParameterValue: new(p.o.Array.Name)}, wire.NameValuePair{ParameterName: new("reason"), ParameterValue: new(err.Error())}))
	}
	return list[:min(len(list), session.MaxQueued)]
}

func alarmKey(t wire.AlarmType, object string) string { return string(t) + " " + object }

func (p *Provider) newAlarm(t wire.AlarmType, of wire.EntityType, object string, status wire.AlarmStatus, message string, parameters ...wire.NameValuePair) alarm {
	return alarm{alarmKey(t, object), &wire.StorageAlarm{AlarmTimeStamp: new(p.o.Clock().UTC()), AlarmType: &t, MessageID: &message, ObjectID: &object, ObjectType: &of,
		ParameterList: parameters, Status: &status}}
}

// getAlarms tells a client which alarms are new, changed or over since it was told last;
// with -1 all that are not green (vasa.md 1.6).
func (p *Provider) getAlarms(_ context.Context, c *caller, q *wire.GetAlarms) (*wire.GetAlarmsResponse, error) {
	if q.LastAlarmID == nil {
		return nil, invalid("lastAlarmId is missing")
	}
	client := c.client()
	var list []session.Numbered[wire.AnyAlarm]
	var err error
	client.UpdateAlarms(func(told map[string]wire.AnyAlarm) map[string]wire.AnyAlarm {
		now, current := p.alarms(), map[string]wire.AnyAlarm{}
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
		ParameterList: []wire.NameValuePair{{ParameterName: new("array"), ParameterValue: new(p.o.Array.Name)}}}
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
