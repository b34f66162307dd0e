package vasa

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/trust"
	"vvsim/vasa/vasatest"
	"vvsim/vasa/wire"
	"vvsim/vvol"
	"vvsim/vvol/store"
)

// dataPath does I/O as far as a handle leads: over the binding with that endpoint and
// secondary id, of the host that the initiator belongs to.
type dataPath struct{ l *lab }

func (p dataPath) open(ctx context.Context, a vasatest.Access) (store.Object, error) {
	host, err := p.l.service.Host(a.Initiators[0])
	if err != nil {
		return nil, err
	}
	for _, b := range p.l.service.Bindings(vvol.BindingFilter{Host: host.ID, PE: vvol.PEID(a.PE)}) {
		if p.l.o.SecondaryID(b.Secondary) == a.SecondaryID {
			return p.l.engine.Open(ctx, store.ID(b.VVol))
		}
	}
	return nil, fmt.Errorf("no binding behind %+v", a)
}

func (p dataPath) Write(ctx context.Context, a vasatest.Access, offset uint64, data []byte) error {
	o, err := p.open(ctx, a)
	if err != nil {
		return err
	}
	return errors.Join(o.WriteAt(ctx, data, offset, store.WriteOptions{}), o.Close())
}

func (p dataPath) Read(ctx context.Context, a vasatest.Access, offset uint64, data []byte) error {
	o, err := p.open(ctx, a)
	if err != nil {
		return err
	}
	return errors.Join(o.ReadAt(ctx, data, offset), o.Close())
}

// exerciseOptions are for the exercise of a lab.
func (l *lab) exerciseOptions() vasatest.ExerciseOptions {
	return vasatest.ExerciseOptions{URL: l.server.URL + VersionPath, User: "vasa", Password: "secret-of-the-lab", IO: dataPath{l}, Seen: l.validate}
}

// exercised checks the lines of an exercise that succeeded, and that nothing is left.
func (l *lab) exercised(lines []vasatest.Line, err error) {
	l.t.Helper()
	for _, line := range lines {
		l.t.Logf("%-22s %-8s %2d calls %8v %s", line.Step, line.Outcome(), len(line.Calls), line.Took, strings.Join(line.Notes, "; "))
		require.NotEmpty(l.t, line.Expected)
	}
	require.NoError(l.t, err)
	require.Len(l.t, lines, len(vasatest.Steps())+1)
	require.Empty(l.t, l.service.VVols(vvol.Filter{}))
	require.Zero(l.t, l.bound())
	require.Empty(l.t, l.trust.Roots(), "the authority of the exercise is trusted no longer")
	require.NoError(l.t, l.service.Check(context.Background()))
}

// TestExercise lives through the life of a VM, in both versions of SOAP, with both
// certificate flows, and with two hosts and four.
func TestExercise(t *testing.T) {
	var binds []int // of vMotion
	for _, version := range []wire.Version{wire.SOAP11, wire.SOAP12} {
		t.Run(version.String(), func(t *testing.T) {
			l := newLab(t, nil)
			if version == wire.SOAP12 {
				var err error
				l.trust, err = trust.Open("", trust.Options{Addresses: []string{"127.0.0.1"}, Password: "secret-of-the-lab", Clock: l.now})
				require.NoError(t, err)
				l.restart()
				l.set(Knobs{TasksRunFirst: true, VersionForm: FormElement})
			}
			o := l.exerciseOptions()
			o.Version = version
			if version == wire.SOAP12 {
				o.Hosts = make([]vasatest.HostSpec, 4)
			}
			lines, err := vasatest.Run(t.Context(), o)
			l.exercised(lines, err)
			kept := slices.ContainsFunc(lines, func(x vasatest.Line) bool { return slices.Contains(x.Notes, "the provider keeps its certificate") })
			require.Equal(t, version == wire.SOAP11, kept)
			require.Len(t, l.service.Hosts(), max(vasatest.MinHosts, len(o.Hosts)))
			moves := lines[slices.IndexFunc(lines, func(x vasatest.Line) bool { return x.Step == "vMotion" })]
			binds = append(binds, len(slices.DeleteFunc(moves.Calls, func(name string) bool { return name != "bindVirtualVolume" })))
		})
	}
	require.NotZero(t, binds[0])
	require.Equal(t, 3*binds[0], binds[1], "of four hosts, to each of the other three")
}

// restart stops catalog and provider, and starts both on the same address.
func (l *lab) restart() {
	address := l.server.Listener.Addr().String()
	l.stop()
	l.serve(address)
}

// TestExerciseOverRestarts restarts the array between each two steps: sessions are gone,
// and nothing else is.
func TestExerciseOverRestarts(t *testing.T) {
	l := newLab(t, nil)
	o := l.exerciseOptions()
	restarts := 0
	var gone sync.WaitGroup
	o.Between = func(_ context.Context, _, before string) error {
		gone.Wait()
		restarts++
		if before != "grow" {
			l.restart()
			return nil
		}
		address := l.server.Listener.Addr().String()
		l.server.Close()
		gone.Go(func() {
			<-time.After(300 * time.Millisecond)
			l.listen(address)
		})
		return nil
	}
	lines, err := vasatest.Run(t.Context(), o)
	l.exercised(lines, err)
	require.Equal(t, len(vasatest.Steps())-1, restarts)
	require.True(t, slices.ContainsFunc(lines, func(x vasatest.Line) bool {
		return x.Step == "grow" && slices.Contains(x.Notes, "the provider was gone")
	}))
	require.True(t, slices.ContainsFunc(lines, func(x vasatest.Line) bool {
		return x.Step == "vMotion" && slices.Contains(x.Notes, "InvalidSession: the context was set anew")
	}))
}

// lies is a provider that answers one operation wrongly, after it did it unless idle.
type lies struct {
	Invoker
	operation string
	idle      bool
	change    func(resp any, err error) (any, error)
}

func (l lies) Invoke(ctx context.Context, op string, req any) (any, error) {
	if op == l.operation && l.idle {
		return l.change(nil, nil)
	}
	resp, err := l.Invoker.Invoke(ctx, op, req)
	if op == l.operation {
		return l.change(resp, err)
	}
	return resp, err
}

// TestExerciseNotices lets the provider answer wrongly, which the exercise must see in the
// step that is about it, and clean up behind itself nevertheless.
func TestExerciseNotices(t *testing.T) {
	answer := func(change func(resp any)) func(any, error) (any, error) {
		return func(resp any, err error) (any, error) {
			if err == nil {
				change(resp)
			}
			return resp, err
		}
	}
	binds := 0
	for _, x := range []struct {
		operation, step string
		change          func(any, error) (any, error)
	}{
		{"queryArrays", "synchronize", answer(func(r any) { r.(*wire.QueryArraysResponse).Return = nil })},
		{"queryProtocolEndpoint", "synchronize", answer(func(r any) { r.(*wire.QueryProtocolEndpointResponse).Return[0].InBandID.LUNID = new("eui.1") })},
		{"spaceStatsForStorageContainer", "mount on hosts", answer(func(r any) { r.(*wire.SpaceStatsForStorageContainerResponse).Return[0].LogicalFree = 0 })},
		{"createVirtualVolume", "create VM", answer(func(r any) { r.(*wire.CreateVirtualVolumeResponse).Return.TaskState = wire.TaskStateError })},
		{"queryVirtualVolumeInfo", "create VM", answer(func(r any) {
			for i := range r.(*wire.QueryVirtualVolumeInfoResponse).Return {
				r.(*wire.QueryVirtualVolumeInfoResponse).Return[i].Metadata[0].ParameterValue = new("")
			}
		})},
		{"queryVirtualVolume", "browse", answer(func(r any) { r.(*wire.QueryVirtualVolumeResponse).Return = []string{absent} })},
		{"bindVirtualVolume", "power on", answer(func(r any) {
			if binds++; binds == 4 {
				r.(*wire.BindVirtualVolumeResponse).Return[0].VVolHandle.VVolSecondaryID = "0xe2ffffffffff"
			}
		})},
		{"snapshotVirtualVolume", "snapshot", answer(func(r any) {
			r.(*wire.SnapshotVirtualVolumeResponse).Return[1].ErrorResult = &wire.BatchErrorResult{Error: []any{&wire.StorageFault{}}}
		})},
		{"unsharedBitmapVirtualVolume", "changed blocks", answer(func(r any) { clear(r.(*wire.UnsharedBitmapVirtualVolumeResponse).Return.ChunkBitmap) })},
		{"revertVirtualVolume", "revert", func(any, error) (any, error) { return nil, refuse(&wire.NotSupported{}, "no") }},
		{"resizeVirtualVolume", "grow", func(resp any, _ error) (any, error) { return resp, refuse(&wire.OutOfResource{}, "no") }},
		{"queryComplianceResult", "policy change", answer(func(r any) {
			r.(*wire.QueryComplianceResultResponse).Return[0].ComplianceStatus = wire.ComplianceStatusNonCompliant
		})},
		{"unbindAllVirtualVolumesFromHost", "host reboot", func(any, error) (any, error) { return nil, refuse(&wire.StorageFault{}, "no") }},
	} {
		t.Run(x.operation, func(t *testing.T) {
			l := newLab(t, nil)
			l.Decorate(func(i Invoker) Invoker { return lies{i, x.operation, false, x.change} })
			o := l.exerciseOptions()
			o.Seen = nil
			lines, err := vasatest.Run(t.Context(), o)
			require.Error(t, err)
			i := slices.IndexFunc(lines, func(l vasatest.Line) bool { return l.Err != nil })
			require.Equal(t, x.step, lines[i].Step, "%v", err)
			require.Contains(t, err.Error(), x.step)
			require.Equal(t, "clean up", lines[len(lines)-1].Step)
			require.NoError(t, lines[len(lines)-1].Err)
			if x.operation != "createVirtualVolume" { // whose ids are told with success alone
				require.Empty(t, l.service.VVols(vvol.Filter{}))
			}
		})
	}
}

// TestExerciseStaysTrusted: a provider that cannot unregister an authority, or only says that it
// did, makes a note and no failure.
func TestExerciseStaysTrusted(t *testing.T) {
	for why, fault := range map[string]wire.Fault{"StorageFault": &wire.StorageFault{}, "InvalidCertificate": &wire.InvalidCertificate{}, "changed nothing": nil} {
		l := newLab(t, nil)
		l.Decorate(func(i Invoker) Invoker {
			return lies{i, "unregisterVASACertificate", true, func(any, error) (any, error) {
				if fault == nil {
					return nil, nil
				}
				return nil, refuse(fault, "no")
			}}
		})
		o := l.exerciseOptions()
		o.Seen = nil
		lines, err := vasatest.Run(t.Context(), o)
		require.NoError(t, err)
		require.True(t, slices.ContainsFunc(lines[len(lines)-1].Notes, func(n string) bool {
			return strings.Contains(n, "goes on trusting") && strings.Contains(n, why)
		}), "%q", lines[len(lines)-1].Notes)
		require.Len(t, l.trust.Roots(), 1)
	}
}

// TestExerciseDataPath notices contents that are not what was written.
func TestExerciseDataPath(t *testing.T) {
	l := newLab(t, nil)
	o := l.exerciseOptions()
	o.IO = deaf{dataPath{l}}
	_, err := vasatest.Run(t.Context(), o)
	require.ErrorContains(t, err, "other contents")
	o.IO = nil
	lines, err := vasatest.Run(t.Context(), o)
	l.exercised(lines, err)
	require.True(t, slices.ContainsFunc(lines, func(x vasatest.Line) bool {
		return slices.Contains(x.Notes, "contents were not checked: there is no data path")
	}))
}

// deaf loses what is written.
type deaf struct{ dataPath }

func (deaf) Write(context.Context, vasatest.Access, uint64, []byte) error { return nil }

// TestExerciseOptions refuses what cannot be exercised, and ends where it is told to.
func TestExerciseOptions(t *testing.T) {
	l := newLab(t, nil)
	o := l.exerciseOptions()
	o.DiskMB = 1
	_, err := vasatest.Run(t.Context(), o)
	require.ErrorContains(t, err, "too small")
	o = l.exerciseOptions()
	o.Hosts = make([]vasatest.HostSpec, vasatest.MaxHosts+1)
	_, err = vasatest.Run(t.Context(), o)
	require.ErrorContains(t, err, "65 hosts, at most 64")
	for change, text := range map[string]string{"password": "InvalidLogin", "container": "no container", "path": "404", "url": "https://"} {
		o := l.exerciseOptions()
		switch change {
		case "password":
			o.Password = "wrong"
		case "container":
			o.Container = "elsewhere"
		case "path":
			o.URL = l.server.URL + "/nothing.xml"
		case "url":
			o.URL = "http://127.0.0.1/version.xml"
		}
		_, err := vasatest.Run(t.Context(), o)
		require.ErrorContains(t, err, text)
	}
	o = l.exerciseOptions()
	o.Between = func(_ context.Context, _, before string) error {
		if before == "snapshot" {
			return errors.New("enough")
		}
		return nil
	}
	lines, err := vasatest.Run(t.Context(), o)
	require.ErrorContains(t, err, "between power on and snapshot: enough")
	require.Equal(t, "clean up", lines[len(lines)-1].Step)
	require.Empty(t, l.service.VVols(vvol.Filter{}))

	o = l.exerciseOptions()
	o.GoOn = true
	l.Decorate(func(i Invoker) Invoker {
		return lies{i, "resizeVirtualVolume", true, func(any, error) (any, error) { return nil, refuse(&wire.OutOfResource{}, "no") }}
	})
	lines, err = vasatest.Run(t.Context(), o)
	require.ErrorContains(t, err, "grow")
	require.Len(t, lines, len(vasatest.Steps())+1)
	for _, line := range lines {
		require.Equal(t, line.Step == "grow", line.Err != nil, "%s: %v", line.Step, line.Err)
	}
}
