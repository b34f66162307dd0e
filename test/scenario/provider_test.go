package scenario

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/test/schema"
	"vvsim/vasa"
	"vvsim/vasa/policy"
	"vvsim/vasa/vasatest"
	"vvsim/vasa/wire"
)

// site is a vCenter's authority that a lab's provider trusts, whose hosts call it.
type site struct {
	*lab
	vmca      *vasatest.Authority
	container string // id of the default one
	schema    *schema.Validator
}

// newSite registers an authority with the provider of a lab.
func newSite(l *lab) *site {
	l.t.Helper()
	vmca, err := vasatest.NewAuthority("VMCA")
	require.NoError(l.t, err)
	s := &site{lab: l, vmca: vmca, schema: schema.New(l.t)}
	v := l.a.Ready().VASA
	_, err = vasatest.Do[wire.RegisterCACertificatesAndCRLsResponse](l.ctx, s.client("registrar", false),
		&wire.RegisterCACertificatesAndCRLs{ProviderUserName: v.User, ProviderPassword: v.Password, CARootCert: []string{vmca.PEM()}})
	require.NoError(l.t, err)
	k, err := vasatest.Do[wire.QueryStorageContainerResponse](l.ctx, s.host("first"), &wire.QueryStorageContainer{})
	require.NoError(l.t, err)
	for _, x := range k.Return {
		if x.Name == "default" {
			s.container = *x.UniqueIdentifier
		}
	}
	require.NotEmpty(l.t, s.container)
	return s
}

// client calls the provider, with a certificate of its own or none.
func (s *site) client(name string, certified bool) *vasatest.Client {
	s.t.Helper()
	o := vasatest.Options{URL: strings.TrimSuffix(s.a.Ready().VASA.URL, vasa.VersionPath) + vasa.ServicePath,
		Seen: func(x vasatest.Exchange) { s.schema.Add(x.Operation, x.Response) }}
	if s.network != nil {
		o.Dial = s.network.DialNetwork
	}
	if certified {
		var err error
		o.Certificate, err = s.vmca.Issue(name, nil)
		require.NoError(s.t, err)
	}
	c, err := vasatest.New(o)
	require.NoError(s.t, err)
	s.t.Cleanup(c.Close)
	return c
}

// host opens the session of a host with one initiator, that of its name.
func (s *site) host(name string) *vasatest.Client {
	s.t.Helper()
	c := s.client(name, true)
	guid := fmt.Sprintf("564de1a4-9a99-da0f-8b7c-%012x", fmt.Appendf(nil, "%6.6s", name))
	_, err := vasatest.Do[wire.SetContextResponse](s.ctx, c, &wire.SetContext{UsageContext: &wire.UsageContext{HostGUID: &guid,
		HostInitiator: []wire.HostInitiatorInfo{{ISCSIIdentifier: new(iqn(name))}}}})
	require.NoError(s.t, err)
	return c
}

// create makes a Data VVol in the default container; metadata are keys and values in turn.
func (s *site) create(ctx context.Context, c *vasatest.Client, mb int64, metadata ...string) (string, error) {
	return s.createIn(ctx, c, s.container, mb, metadata...)
}

func (s *site) createIn(ctx context.Context, c *vasatest.Client, container string, mb int64, metadata ...string) (string, error) {
	return created(ctx, c, &wire.CreateVirtualVolume{ContainerID: container, VVolType: wire.VirtualVolumeTypeData, SizeInMB: mb, Metadata: pairs(metadata)})
}

// createAs makes one with a policy.
func (s *site) createAs(ctx context.Context, c *vasatest.Client, p *wire.StorageProfile, mb int64, metadata ...string) (string, error) {
	return created(ctx, c, &wire.CreateVirtualVolume{ContainerID: s.container, VVolType: wire.VirtualVolumeTypeData, SizeInMB: mb, Metadata: pairs(metadata), StorageProfile: p})
}

func created(ctx context.Context, c *vasatest.Client, q *wire.CreateVirtualVolume) (string, error) {
	r, err := vasatest.Do[wire.CreateVirtualVolumeResponse](ctx, c, q)
	if err != nil {
		return "", err
	}
	return resultOf(r.Return)
}

// profile is a policy that asks for the values of capabilities of ours.
func profile(id string, generation uint64, rules map[string]any) *wire.StorageProfile {
	sub := &wire.SubProfile{Name: "rules"}
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		sub.Capability = append(sub.Capability, wire.CapabilityInstance{CapabilityID: wire.CapabilityId{ID: name, Namespace: policy.Namespace},
			Constraint: []wire.ConstraintInstance{{PropertyInstance: []wire.PropertyInstance{{ID: name, Value: rules[name]}}}}})
	}
	return &wire.StorageProfile{ProfileID: id, Name: id, CreatedBy: "me", CreationTime: time.Unix(0, 0).UTC(), GenerationID: int64(generation),
		Constraints: &wire.CapabilityConstraints{SubProfiles: []wire.AnySubProfile{sub}}}
}

// apply gives a VVol another policy.
func (s *site) apply(ctx context.Context, c *vasatest.Client, id string, p *wire.StorageProfile) error {
	r, err := vasatest.Do[wire.UpdateStorageProfileForVirtualVolumeResponse](ctx, c, &wire.UpdateStorageProfileForVirtualVolume{VVolID: id, NewStorageProfile: p})
	if err == nil && r.Return.TaskState != wire.TaskStateSuccess {
		err = fmt.Errorf("task %s is %s: %v", r.Return.TaskID, r.Return.TaskState, r.Return.Error)
	}
	return err
}

// space is a container's balance.
func (s *site) space(ctx context.Context, c *vasatest.Client) (wire.ContainerSpaceStats, error) {
	r, err := vasatest.Do[wire.SpaceStatsForStorageContainerResponse](ctx, c, &wire.SpaceStatsForStorageContainer{ContainerID: s.container})
	if err != nil {
		return wire.ContainerSpaceStats{}, err
	}
	if len(r.Return) != 1 || r.Return[0].ObjectID != s.container {
		return wire.ContainerSpaceStats{}, fmt.Errorf("space of container %s: %+v", s.container, r.Return)
	}
	return r.Return[0], nil
}

func pairs(metadata []string) (list []wire.NameValuePair) {
	for i := 0; i+1 < len(metadata); i += 2 {
		list = append(list, wire.NameValuePair{ParameterName: &metadata[i], ParameterValue: &metadata[i+1]})
	}
	return list
}

// resultOf is the new VVol of a task, which has to be over.
func resultOf(t wire.TaskInfo) (string, error) {
	if t.TaskState != wire.TaskStateSuccess {
		return "", fmt.Errorf("task %s is %s: %v", t.TaskID, t.TaskState, t.Error)
	}
	id, ok := t.Result.(string)
	if !ok {
		return "", fmt.Errorf("task %s has the result %v", t.TaskID, t.Result)
	}
	return id, nil
}

// bind gives the caller's handles, in the order of the ids.
func (s *site) bind(ctx context.Context, c *vasatest.Client, ids ...string) ([]wire.VirtualVolumeHandle, error) {
	r, err := vasatest.Do[wire.BindVirtualVolumeResponse](ctx, c, &wire.BindVirtualVolume{VVolID: ids, BindContext: wire.BindContextNormal})
	if err != nil {
		return nil, err
	}
	handles := make([]wire.VirtualVolumeHandle, len(ids))
	for i, row := range r.Return {
		if row.Fault != nil || row.VVolHandle == nil || row.VVolID != ids[i] {
			return nil, fmt.Errorf("bind of %s: %+v", ids[i], row)
		}
		handles[i] = *row.VVolHandle
	}
	return handles, nil
}

func (s *site) unbind(ctx context.Context, c *vasatest.Client, handles ...wire.VirtualVolumeHandle) error {
	r, err := vasatest.Do[wire.UnbindVirtualVolumeResponse](ctx, c, &wire.UnbindVirtualVolume{VVolHandle: handles, UnbindContext: wire.UnbindContextNormal})
	if err != nil {
		return err
	}
	for _, row := range r.Return {
		if row.ErrorResult != nil {
			return fmt.Errorf("unbind of %s: %+v", row.UniqueID, row.ErrorResult)
		}
	}
	return nil
}

func (s *site) delete(ctx context.Context, c *vasatest.Client, id string) error {
	_, err := c.Call(ctx, &wire.DeleteVirtualVolume{VVolID: id})
	return err
}

// lunOf is where a handle leads in the only protocol endpoint: its LUN of 256, and the
// secondary id behind.
func lunOf(h wire.VirtualVolumeHandle) string {
	return "0100" + strings.TrimPrefix(h.VVolSecondaryID, "0x")
}

// prepare makes a snapshot that take takes.
func (s *site) prepare(ctx context.Context, c *vasatest.Client, id string) (string, error) {
	r, err := vasatest.Do[wire.PrepareToSnapshotVirtualVolumeResponse](ctx, c, &wire.PrepareToSnapshotVirtualVolume{VVolID: id, SnapType: wire.SnapTypeSnapshotReadOnly})
	if err != nil {
		return "", err
	}
	p, ok := r.Return.Result.(*wire.PrepareSnapshotResult)
	if !ok {
		return "", fmt.Errorf("task %s has the result %v", r.Return.TaskID, r.Return.Result)
	}
	return p.SnapshotID, nil
}

// take takes prepared snapshots at one instant.
func (s *site) take(ctx context.Context, c *vasatest.Client, ids ...string) error {
	q := &wire.SnapshotVirtualVolume{TimeoutMS: 10_000}
	for _, id := range ids {
		q.SnapshotInfo = append(q.SnapshotInfo, wire.VirtualVolumeInfo{VVolID: id})
	}
	r, err := vasatest.Do[wire.SnapshotVirtualVolumeResponse](ctx, c, q)
	if err != nil {
		return err
	}
	for _, row := range r.Return {
		if row.ErrorResult != nil {
			return fmt.Errorf("snapshot %s: %+v", row.UniqueID, row.ErrorResult)
		}
	}
	return nil
}
