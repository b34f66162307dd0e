package vasa

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// endpoint is a protocol endpoint of the array.
type endpoint struct {
	vvol.ProtocolEndpoint
	id string // as clients know it; stable, as the LUN is what the unit's name is made of
}

func endpointID(e endpoint) string { return e.id }

func (p *Provider) endpoints() (list []endpoint) {
	for _, e := range p.o.Service.Endpoints() {
		list = append(list, endpoint{e, p.objectID(wire.EntityTypeProtocolEndpoint, e.LUN)})
	}
	return list
}

// inBandID is what a host sees of an endpoint (vasa.md 5): nothing but the name.
func inBandID(e vvol.PEID) wire.ProtocolEndpointInbandId {
	return wire.ProtocolEndpointInbandId{LUNID: new(string(e)), ProtocolEndpointType: wire.ProtocolEndpointTypeSCSI}
}

func (p *Provider) queryProtocolEndpointForArray(_ context.Context, _ *caller, q *wire.QueryProtocolEndpointForArray) (*wire.QueryProtocolEndpointForArrayResponse, error) {
	if err := p.checkArray(q.ArrayID); err != nil {
		return nil, err
	}
	return &wire.QueryProtocolEndpointForArrayResponse{Return: ids(p.endpoints(), endpointID)}, nil
}

// queryProtocolEndpoint passes over what it does not know, and what is no id: it
// declares no fault for it. No id means all, as for containers.
func (p *Provider) queryProtocolEndpoint(_ context.Context, _ *caller, q *wire.QueryProtocolEndpoint) (*wire.QueryProtocolEndpointResponse, error) {
	if err := p.checkLength(len(q.PEID)); err != nil {
		return nil, err
	}
	all := p.endpoints()
	byID := map[string]endpoint{}
	for _, e := range all {
		byID[e.id] = e
	}
	wanted := q.PEID
	if len(wanted) == 0 {
		wanted = ids(all, endpointID)
	}
	r := &wire.QueryProtocolEndpointResponse{}
	for _, id := range wanted {
		if e, has := byID[id]; has {
			r.Return = append(r.Return, wire.ProtocolEndpoint{BaseStorageEntity: wire.BaseStorageEntity{UniqueIdentifier: &e.id},
				InBandBindCapability: wire.InBandBindCapabilityNone, InBandID: inBandID(e.ID)})
		}
	}
	return r, nil
}

// setPEContext notes what endpoints the client sees, and tells it of its own ones among
// them (vasa.md 2.5): New for one that it did not see before, Update for one that it
// describes otherwise, Delete for one that it sees no more (8.4). A client with a new
// session may have forgotten what it was told, as a host that was restarted, and is told
// New again. Nothing that a host sees is a fault: what is not ours is ignored.
func (p *Provider) setPEContext(_ context.Context, c *caller, q *wire.SetPEContext) error {
	if err := p.checkLength(len(q.ListOfHostPE)); err != nil {
		return err
	}
	p.traceEndpoints(c, q.ListOfHostPE)
	if p.o.Knobs().EndpointsByID {
		p.nameInBand(q.ListOfHostPE)
	}
	client, kept := c.client(), p.worthKeeping(q.ListOfHostPE)
	client.UpdateEndpoints(c.session.ID, kept, func(former []wire.ProtocolEndpoint, sameSession bool) {
		before, now := seen(former), seen(kept)
		for _, e := range p.endpoints() {
			name := strings.ToLower(string(e.ID))
			b, had := before[name]
			n, has := now[name]
			change := wire.EventConfigTypeUpdate
			switch {
			case has && (!had || !sameSession):
				change = wire.EventConfigTypeNew
			case had && !has:
				change = wire.EventConfigTypeDelete
			case !has || reflect.DeepEqual(b, n):
				continue
			}
			if client.Wants(wire.EventTypeConfigProtocolEndpoint) {
				client.Events.Put("endpoint "+e.id, p.endpointEvent(e, change))
			}
		}
	})
	return nil
}

// nameInBand gives entries with the uniqueIdentifier of an endpoint of ours its in-band
// id, whatever the host calls it (vasa.md 13).
func (p *Provider) nameInBand(list []wire.ProtocolEndpoint) {
	for _, e := range p.endpoints() {
		for i := range list {
			if strings.EqualFold(value(list[i].UniqueIdentifier), e.id) {
				list[i].InBandID = inBandID(e.ID)
			}
		}
	}
}

// traceEndpoints notes whether a host's entries have a uniqueIdentifier, and whose.
func (p *Provider) traceEndpoints(c *caller, list []wire.ProtocolEndpoint) {
	own := ids(p.endpoints(), endpointID)
	for _, e := range list {
		text := "none"
		if id := value(e.UniqueIdentifier); slices.ContainsFunc(own, func(o string) bool { return strings.EqualFold(o, id) }) {
			text = "of ours"
		} else if id != "" {
			text = "foreign"
		}
		n := c.entry("uniqueIdentifier of an endpoint", fmt.Sprintf("%s, in-band id of ours %t", text, p.isEndpoint(e)))
		n.Operation = c.operation
		p.trace.Add(p.o.Clock(), n)
	}
}

// maxEndpointName bounds the names that are kept of what a host says of an endpoint, in bytes.
const maxEndpointName = 255

// worthKeeping is what matters of the endpoints that a host sees, and what it may not make
// as large as it likes: ours, each once, or one that stands for all the foreign ones.
func (p *Provider) worthKeeping(list []wire.ProtocolEndpoint) (kept []wire.ProtocolEndpoint) {
	for _, e := range seen(list) {
		if !p.isEndpoint(e) {
			continue
		}
		e.InBandID = wire.ProtocolEndpointInbandId{LUNID: e.InBandID.LUNID, ProtocolEndpointType: e.InBandID.ProtocolEndpointType}
		if len(value(e.UniqueIdentifier)) > maxEndpointName {
			e.UniqueIdentifier = nil
		}
		kept = append(kept, e)
	}
	if len(kept) == 0 && len(list) > 0 {
		return []wire.ProtocolEndpoint{{}}
	}
	return kept
}

// seen has the SCSI endpoints of a list by the name of their unit, in lower case.
func seen(list []wire.ProtocolEndpoint) map[string]wire.ProtocolEndpoint {
	m := map[string]wire.ProtocolEndpoint{}
	for _, e := range list {
		if id := value(e.InBandID.LUNID); id != "" && e.InBandID.ProtocolEndpointType == wire.ProtocolEndpointTypeSCSI {
			id = strings.ToLower(id)
			e.InBandID.LUNID = &id
			m[id] = e
		}
	}
	return m
}

// endpointMessages are keys of the event catalog.
var endpointMessages = map[wire.EventConfigType]string{
	wire.EventConfigTypeNew:    "dev.vvsim.event.endpoint.new",
	wire.EventConfigTypeUpdate: "dev.vvsim.event.endpoint.update",
	wire.EventConfigTypeDelete: "dev.vvsim.event.endpoint.delete",
}

func (p *Provider) endpointEvent(e endpoint, change wire.EventConfigType) *wire.StorageEvent {
	return &wire.StorageEvent{ArrayID: new(p.arrayID()), EventConfigType: &change, EventObjType: new(wire.EntityTypeProtocolEndpoint),
		EventTimeStamp: new(p.o.Clock().UTC()), EventType: new(wire.EventTypeConfigProtocolEndpoint), MessageID: new(endpointMessages[change]),
		ObjectID: &e.id, ParameterList: []wire.NameValuePair{pair("name", e.Name), pair("lun", string(e.ID))}}
}
