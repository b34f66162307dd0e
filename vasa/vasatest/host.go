package vasatest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"vvsim/vasa/wire"
)

// HostSpec says who a host is; empty fields are made up.
type HostSpec struct {
	GUID       string   // SMBIOS UUID
	Initiators []string // iSCSI names
}

// Host plays an ESXi host's vvold.
type Host struct {
	*Session
	HostSpec
	endpoints []wire.ProtocolEndpoint // as it sees them
}

// NewHost makes a host of a vCenter, with a certificate of its authority and no session.
func (v *VCenter) NewHost(spec HostSpec) (*Host, error) {
	if spec.GUID == "" {
		spec.GUID = newUUID()
	}
	if len(spec.Initiators) == 0 {
		spec.Initiators = []string{"iqn.1998-01.com.vmware:exercise-" + spec.GUID[:8]}
	}
	o, err := v.clientFor("host " + spec.GUID)
	if err != nil {
		return nil, err
	}
	usage := wire.UsageContext{HostGUID: &spec.GUID}
	for _, n := range spec.Initiators {
		usage.HostInitiator = append(usage.HostInitiator, wire.HostInitiatorInfo{ISCSIIdentifier: &n})
	}
	h := &Host{HostSpec: spec}
	if h.Session, err = newSession(o, usage, v.wait); err != nil {
		return nil, err
	}
	h.opened = h.tellEndpoints
	return h, nil
}

// See sets which endpoints the host sees in-band; it tells the provider with each new
// session (vasa.md 8.2, step 3), and now if it has one.
func (h *Host) See(ctx context.Context, list []wire.ProtocolEndpoint) error {
	h.endpoints = nil
	for _, e := range list { // in-band, nothing but the name of the unit is known
		h.endpoints = append(h.endpoints, wire.ProtocolEndpoint{InBandBindCapability: wire.InBandBindCapabilityNone, InBandID: e.InBandID})
	}
	if h.Info().UID == "" {
		return nil
	}
	return h.tellEndpoints(ctx)
}

// tellEndpoints follows each setContext, and so does not set another one.
func (h *Host) tellEndpoints(ctx context.Context) error {
	if h.endpoints == nil {
		return nil
	}
	_, err := h.try(ctx, &wire.SetPEContext{ListOfHostPE: h.endpoints})
	if h.missing(err, "setPEContext") {
		return nil
	}
	return err
}

// Reboot is what a host does after it has booted (8.4).
func (h *Host) Reboot(ctx context.Context) error {
	seen := h.endpoints
	h.endpoints = nil // the endpoints are told last
	err := h.Open(ctx)
	h.endpoints = seen
	if err != nil {
		return err
	}
	if _, err := h.Call(ctx, &wire.UnbindAllVirtualVolumesFromHost{}); err != nil {
		return err
	}
	return h.tellEndpoints(ctx)
}

// Forget loses the session's cookie, as a host that was restarted.
func (h *Host) Forget() error { return h.client.forget() }

// Pairs makes metadata of keys and values in turn.
func Pairs(kv ...string) (list []wire.NameValuePair) {
	for i := 0; i+1 < len(kv); i += 2 {
		list = append(list, wire.NameValuePair{ParameterName: &kv[i], ParameterValue: &kv[i+1]})
	}
	return list
}

// Create makes a virtual volume and returns its id.
func (h *Host) Create(ctx context.Context, q *wire.CreateVirtualVolume) (string, error) {
	r, err := ask[wire.CreateVirtualVolumeResponse](ctx, h.Session, q)
	if err != nil {
		return "", err
	}
	return h.made(ctx, r.Return)
}

// Bind binds virtual volumes of one container; rows come in the order of the ids. The
// first that has a fault is the error.
func (h *Host) Bind(ctx context.Context, how wire.BindContext, ids ...string) ([]wire.BatchVirtualVolumeHandleResult, error) {
	r, err := ask[wire.BindVirtualVolumeResponse](ctx, h.Session, &wire.BindVirtualVolume{VVolID: ids, BindContext: how})
	if err != nil {
		return nil, err
	}
	rows := make([]wire.BatchVirtualVolumeHandleResult, len(ids))
	for i, id := range ids {
		at := slices.IndexFunc(r.Return, func(row wire.BatchVirtualVolumeHandleResult) bool { return row.VVolID == id })
		switch {
		case at < 0:
			return nil, fmt.Errorf("bindVirtualVolume has no row for %s", id)
		case r.Return[at].Fault != nil:
			return nil, &RowError{"bindVirtualVolume", id, faultIn(r.Return[at].Fault)}
		case r.Return[at].VVolHandle == nil:
			return nil, fmt.Errorf("bindVirtualVolume has neither a handle nor a fault for %s", id)
		}
		rows[i] = r.Return[at]
	}
	return rows, nil
}

// Unbind takes handles back.
func (h *Host) Unbind(ctx context.Context, how wire.UnbindContext, handles ...wire.VirtualVolumeHandle) error {
	r, err := ask[wire.UnbindVirtualVolumeResponse](ctx, h.Session, &wire.UnbindVirtualVolume{VVolHandle: handles, UnbindContext: how})
	if err != nil {
		return err
	}
	return rowError("unbindVirtualVolume", r.Return, len(handles))
}

// rowError is the first item of a batch that failed.
func rowError(operation string, rows []wire.BatchReturnStatus, n int) error {
	for _, row := range rows {
		if e := row.ErrorResult; e != nil && len(e.Error) > 0 {
			return &RowError{operation, row.UniqueID, faultIn(e.Error[0])}
		}
	}
	if len(rows) != n {
		return fmt.Errorf("%s answered %d rows for %d items", operation, len(rows), n)
	}
	return nil
}

// Prepare prepares a snapshot and returns what the task tells of it.
func (h *Host) Prepare(ctx context.Context, id string, kind wire.SnapType) (*wire.PrepareSnapshotResult, error) {
	r, err := ask[wire.PrepareToSnapshotVirtualVolumeResponse](ctx, h.Session, &wire.PrepareToSnapshotVirtualVolume{VVolID: id, SnapType: kind})
	if err != nil {
		return nil, err
	}
	t, err := h.Finish(ctx, r.Return)
	if err != nil {
		return nil, err
	}
	p, ok := t.Result.(*wire.PrepareSnapshotResult)
	if !ok || p.SnapshotID == "" {
		return nil, fmt.Errorf("task %s has the result %v, not a prepared snapshot", t.TaskID, t.Result)
	}
	return p, nil
}

// Take takes prepared snapshots, all at one point in time.
func (h *Host) Take(ctx context.Context, within time.Duration, snapshots ...wire.VirtualVolumeInfo) error {
	r, err := ask[wire.SnapshotVirtualVolumeResponse](ctx, h.Session, &wire.SnapshotVirtualVolume{SnapshotInfo: snapshots, TimeoutMS: within.Milliseconds()})
	if err != nil {
		return err
	}
	return rowError("snapshotVirtualVolume", r.Return, len(snapshots))
}

// Revert makes a virtual volume equal to its snapshot.
func (h *Host) Revert(ctx context.Context, id, snapshot string) error {
	r, err := ask[wire.RevertVirtualVolumeResponse](ctx, h.Session, &wire.RevertVirtualVolume{VVolID: id, SnapshotVVolID: snapshot})
	if err == nil {
		_, err = h.Finish(ctx, r.Return)
	}
	return err
}

// Clone copies a virtual volume within its container.
func (h *Host) Clone(ctx context.Context, id string, metadata []wire.NameValuePair) (string, error) {
	r, err := ask[wire.CloneVirtualVolumeResponse](ctx, h.Session, &wire.CloneVirtualVolume{VVolID: id, Metadata: metadata})
	if err != nil {
		return "", err
	}
	return h.made(ctx, r.Return)
}

// FastClone makes a writable copy that shares space.
func (h *Host) FastClone(ctx context.Context, id string, metadata []wire.NameValuePair) (string, error) {
	r, err := ask[wire.FastCloneVirtualVolumeResponse](ctx, h.Session, &wire.FastCloneVirtualVolume{VVolID: id, Metadata: metadata})
	if err != nil {
		return "", err
	}
	return h.made(ctx, r.Return)
}

// Resize sets a size in MB.
func (h *Host) Resize(ctx context.Context, id string, mb int64) error {
	r, err := ask[wire.ResizeVirtualVolumeResponse](ctx, h.Session, &wire.ResizeVirtualVolume{VVolID: id, SizeInMB: mb})
	if err == nil {
		_, err = h.Finish(ctx, r.Return)
	}
	return err
}

// SetProfile gives a virtual volume another policy.
func (h *Host) SetProfile(ctx context.Context, id string, profile wire.AnyProfile) error {
	r, err := ask[wire.UpdateStorageProfileForVirtualVolumeResponse](ctx, h.Session, &wire.UpdateStorageProfileForVirtualVolume{VVolID: id, NewStorageProfile: profile})
	if err == nil {
		_, err = h.Finish(ctx, r.Return)
	}
	return err
}

// Delete deletes a virtual volume.
func (h *Host) Delete(ctx context.Context, id string) error {
	_, err := h.Call(ctx, &wire.DeleteVirtualVolume{VVolID: id})
	return err
}

// SetMetadata sets pairs of a virtual volume; a pair without value removes the key.
func (h *Host) SetMetadata(ctx context.Context, id string, pairs []wire.NameValuePair) error {
	_, err := h.Call(ctx, &wire.UpdateVirtualVolumeMetaData{VVolID: id, KeyValuePair: pairs})
	return err
}

// Find returns the virtual volumes whose metadata match key=value pairs, or have a key.
func (h *Host) Find(ctx context.Context, constraints ...string) ([]string, error) {
	q := &wire.QueryVirtualVolume{}
	for _, c := range constraints {
		key, value, exact := strings.Cut(c, "=")
		k := wire.QueryConstraint{Key: key}
		if exact {
			k.Value = &value
		}
		q.SearchConstraint = append(q.SearchConstraint, k)
	}
	r, err := ask[wire.QueryVirtualVolumeResponse](ctx, h.Session, q)
	if err != nil {
		return nil, err
	}
	return r.Return, nil
}

// Metadata returns a virtual volume's metadata; found is false when it is not there.
func (h *Host) Metadata(ctx context.Context, id string) (m map[string]string, found bool, err error) {
	r, err := ask[wire.QueryVirtualVolumeInfoResponse](ctx, h.Session, &wire.QueryVirtualVolumeInfo{VVolID: []string{id}})
	if err != nil || len(r.Return) == 0 {
		return nil, false, err
	}
	m = map[string]string{}
	for _, p := range r.Return[0].Metadata {
		if p.ParameterName != nil && p.ParameterValue != nil {
			m[*p.ParameterName] = *p.ParameterValue
		}
	}
	return m, r.Return[0].VVolID == id, nil
}

// Space measures a virtual volume, in MB.
func (h *Host) Space(ctx context.Context, id string) (wire.SpaceStats, error) {
	r, err := ask[wire.SpaceStatsForVirtualVolumeResponse](ctx, h.Session, &wire.SpaceStatsForVirtualVolume{VVolID: []string{id}})
	if err != nil {
		return wire.SpaceStats{}, err
	}
	if len(r.Return) != 1 || r.Return[0].ObjectID != id {
		return wire.SpaceStats{}, fmt.Errorf("spaceStatsForVirtualVolume answered %d rows, none of them of %s", len(r.Return), id)
	}
	s := r.Return[0]
	if s.Committed < 0 || s.Committed > s.Logical || s.Logical > math.MaxInt64>>20 {
		return s, fmt.Errorf("%s has %d MB committed of %d", id, s.Committed, s.Logical)
	}
	return s, nil
}
