package unrest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"vvsim/vasa/vasatest"
	"vvsim/vasa/wire"
)

// volume is the name of what Tenants make.
const volume = "tenant"

// Waits of a Tenant.
const (
	absence  = 100 * time.Millisecond // of the provider, after which a call is over
	taskWait = 30 * time.Second
	callWait = 10 * time.Minute // of an answer: who waits for a Life sees a call that hangs long before
)

// Tenant is a host that uses the provider. Used by one goroutine at a time.
type Tenant struct {
	*vasatest.Host
	container string
	endpoints []wire.ProtocolEndpoint
	snapshots []string // which have no name by which they are found
}

// NewTenants registers a vCenter, and makes hosts of it with these initiators. o is as for vasatest.NewVCenter; with Roots, they take no certificate but a good one.
func NewTenants(ctx context.Context, o vasatest.Options, user, password string, initiators ...string) ([]*Tenant, error) {
	o.Timeout = callWait
	vc, err := vasatest.NewVCenter(o, vasatest.Patience{Absence: absence, TaskWait: taskWait})
	if err != nil {
		return nil, err
	}
	defer vc.Close()
	if _, err := vc.Register(ctx, user, password); err != nil {
		return nil, err
	}
	if err := vc.Open(ctx); err != nil {
		return nil, err
	}
	all, err := vc.Sync(ctx)
	if err != nil {
		return nil, err
	}
	k, err := all.Container("default")
	if err != nil {
		return nil, err
	}
	var list []*Tenant
	for _, name := range initiators {
		h, err := vc.NewHost(vasatest.HostSpec{Initiators: []string{name}})
		if err != nil {
			return nil, err
		}
		t := &Tenant{Host: h, container: *k.UniqueIdentifier, endpoints: all.Endpoints}
		if err := t.Open(ctx); err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}

// Life is that of a virtual volume, and of the session in which it is made, bound, snapshotted,
// unbound and deleted with its snapshot, over connections of its own. It goes on after a failure
// as far as it can, and returns all of them.
func (t *Tenant) Life(ctx context.Context) (failed error) {
	did := func(what string, err error) bool {
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", what, err))
		}
		return err == nil
	}
	t.Close()
	did("session", t.Open(ctx))
	did("endpoints", t.See(ctx, t.endpoints))
	_, _, _, err := t.Poll(ctx, -1, -1)
	did("poll", err)
	id, err := t.Create(ctx, &wire.CreateVirtualVolume{ContainerID: t.container, VVolType: wire.VirtualVolumeTypeData, SizeInMB: 8,
		Metadata: vasatest.Pairs("VMW_VVolType", "Data", "VMW_VVolName", volume)})
	if !did("create", err) {
		return failed
	}
	rows, bound := t.Bind(ctx, wire.BindContextNormal, id)
	did("bind", bound)
	snapshot, err := t.prepare(ctx, id)
	if did("prepare", err) {
		did("snapshot", t.Take(ctx, taskWait, wire.VirtualVolumeInfo{VVolID: snapshot}))
	}
	_, found, err := t.Metadata(ctx, id)
	if did("metadata", err) && !found {
		did("metadata", fmt.Errorf("%s is not known", id))
	}
	if bound == nil {
		did("unbind", t.Unbind(ctx, wire.UnbindContextNormal, *rows[0].VVolHandle))
	}
	if snapshot != "" && did("delete snapshot", t.Delete(ctx, snapshot)) {
		t.snapshots = slices.DeleteFunc(t.snapshots, func(id string) bool { return id == snapshot })
	}
	did("delete", t.Delete(ctx, id))
	return failed
}

// prepare is Host.Prepare that knows the snapshot though its task cannot be asked for.
func (t *Tenant) prepare(ctx context.Context, id string) (snapshot string, err error) {
	v, err := t.Call(ctx, &wire.PrepareToSnapshotVirtualVolume{VVolID: id, SnapType: wire.SnapTypeSnapshotReadOnly})
	if err != nil {
		return "", err
	}
	r, ok := v.(*wire.PrepareToSnapshotVirtualVolumeResponse)
	if !ok {
		return "", fmt.Errorf("the response is a %T", v)
	}
	p, ok := r.Return.Result.(*wire.PrepareSnapshotResult)
	if !ok || p.SnapshotID == "" {
		return "", fmt.Errorf("task %s is %s and has the result %v, not a prepared snapshot", r.Return.TaskID, r.Return.TaskState, r.Return.Result)
	}
	t.snapshots = append(t.snapshots, p.SnapshotID)
	_, err = t.Finish(ctx, r.Return)
	return p.SnapshotID, err
}

// Sweep deletes what lives that failed have left, volumes of all Tenants and snapshots of this one,
// and tells what is left then.
func (t *Tenant) Sweep(ctx context.Context) (left []string, err error) {
	t.Close()
	if err := t.Open(ctx); err != nil {
		return nil, err
	}
	for before := -1; ; before = len(left) {
		if left, err = t.Find(ctx, "VMW_VVolName="+volume); err != nil {
			return nil, err
		}
		snapshots := t.snapshots
		left = append(left, snapshots...)
		if len(left) == 0 || len(left) == before {
			return left, nil
		}
		if _, err := t.Call(ctx, &wire.UnbindVirtualVolumeFromAllHost{VVolID: left}); err != nil {
			return left, err
		}
		t.snapshots = nil
		for _, id := range left {
			switch err := t.Delete(ctx, id); {
			case err == nil, vasatest.Outcome(err) == "NotFound":
			case vasatest.Outcome(err) == "ResourceInUse":
				if slices.Contains(snapshots, id) { // a volume is found again
					t.snapshots = append(t.snapshots, id)
				}
			default:
				return left, err
			}
		}
	}
}
