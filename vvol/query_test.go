package vvol_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vvol"
)

// manyVolumes makes n volumes as 16 to a VM, with the metadata that a host gives them.
func (l *lab) manyVolumes(n int) {
	for i := range n {
		kind := vvol.Data
		if i%16 == 0 {
			kind = vvol.Config
		}
		_, err := l.Create(l.t.Context(), vvol.CreateSpec{Container: "default", Size: mib, Type: kind, Metadata: map[string]string{
			"VMW_VVolType": string(kind), "VMW_VVolName": fmt.Sprint("disk", i), "VMW_VmID": fmt.Sprint("vm", i/16), "VMW_ContainerId": "c",
			"VMW_VVolNamespace": fmt.Sprint("/vmfs/volumes/vvol:c/", i/16), "VMW_GosType": "debian12_64Guest", "VMW_VvolProfile": "f4e5:0"}})
		require.NoError(l.t, err)
	}
}

func TestVVolIDs(t *testing.T) {
	l := newLab(t, 1)
	l.manyVolumes(64)
	for n, f := range map[int]vvol.Filter{
		64: {}, 4: {Metadata: map[string]string{"VMW_VVolType": "Config", "VMW_ContainerId": "c"}},
		16: {Metadata: map[string]string{"VMW_VmID": "vm2"}}, 1: {Metadata: map[string]string{"VMW_VmID": "vm2"}, Type: vvol.Config},
		0: {HasKeys: []string{"none"}},
	} {
		ids := l.VVolIDs(f)
		require.Len(t, ids, n)
		for i, v := range l.VVols(f) {
			require.Equal(t, v.ID, ids[i])
		}
	}
}

// BenchmarkQuery asks as hosts do, of 20,000 volumes.
func BenchmarkQuery(b *testing.B) {
	l := newLab(b, 1)
	l.manyVolumes(20_000)
	for _, x := range []struct {
		name string
		f    vvol.Filter
	}{
		{"one VM", vvol.Filter{Metadata: map[string]string{"VMW_VmID": "vm77", "VMW_ContainerId": "c"}}},
		{"all VMs", vvol.Filter{Metadata: map[string]string{"VMW_VVolType": "Config", "VMW_ContainerId": "c"}}},
		{"everything", vvol.Filter{Metadata: map[string]string{"VMW_ContainerId": "c"}}},
	} {
		b.Run(x.name+"/ids", func(b *testing.B) {
			for b.Loop() {
				l.VVolIDs(x.f)
			}
		})
		b.Run(x.name+"/volumes", func(b *testing.B) {
			for b.Loop() {
				l.VVols(x.f)
			}
		})
	}
}
