package vasa

import (
	"context"

	"vvsim/vasa/session"
	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// Subjects tells Invokers what a request is about, whose context they got: the VVols and the
// containers that it names by their ids wherever that is, but for metadata and profiles, and
// the iSCSI initiators of the host that asks. VVols that are not there count, other things'
// ids do not. Of a list that is longer than the operation takes the rest is left out.
func (p *Provider) Subjects(ctx context.Context, req any) (volumes []vvol.ID, containers []vvol.ContainerID, initiators []string) {
	c := withSession(ctx)
	if c != nil && c.client().Host {
		initiators = c.session.Initiators()
	}
	for text := range wire.Texts(req) {
		if id, err := volumeID(text); err == nil {
			volumes = append(volumes, id)
		} else if k, err := p.container(text); err == nil {
			containers = append(containers, k.ID)
		}
		if len(volumes)+len(containers) >= p.o.Limits.Batch+3 { // three without a list
			break
		}
	}
	switch q := req.(type) {
	case *wire.SetContext: // the host has no session yet
		if q.UsageContext != nil && value(q.UsageContext.HostGUID) != "" {
			initiators = append(initiators, session.InitiatorsOf(q.UsageContext)...)
		}
	case *wire.UnbindVirtualVolume: // handles need not say whose they are
		var bound []vvol.Binding
		if c != nil {
			bound = p.bound(c.session)
		}
		for _, h := range q.VVolHandle[:min(len(q.VVolHandle), p.o.Limits.Batch)] {
			if i := p.handleIn(bound, h); i >= 0 && value(h.UniqueIdentifier) == "" {
				volumes = append(volumes, bound[i].VVol)
			}
		}
	}
	return volumes, containers, initiators
}
