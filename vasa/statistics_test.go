package vasa

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/vasatest"
	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// counting gives the lab counters: those of volumes by id.
func counting(volumes map[vvol.ID]Counters, array Counters) func(*Options) {
	return func(o *Options) {
		o.Statistics = Statistics{Array: func() Counters { return array }, Volumes: func(ids []vvol.ID) (all []Counters) {
			for _, id := range ids {
				all = append(all, volumes[id])
			}
			return all
		}}
	}
}

// wantCounters asks for counters of a type.
func wantCounters(array string, of wire.EntityType, ids ...int32) wire.ArrayStatisticsManifest {
	e := wire.EntityStatisticsManifest{EntityTypeName: of}
	for _, id := range ids {
		e.CounterInfo = append(e.CounterInfo, wire.CounterInfo{CounterID: id})
	}
	return wire.ArrayStatisticsManifest{ArrayID: array, EntityStatisticsManifest: []wire.EntityStatisticsManifest{e}}
}

func TestStatistics(t *testing.T) {
	volumes := map[vvol.ID]Counters{}
	l := newLab(t, counting(volumes, Counters{Reads: 100, Writes: 200, ReadBytes: 4096, WrittenBytes: 1 << 20}))
	c, array := l.host("a"), l.arrayID()
	require.Contains(t, do[wire.QueryArraysResponse](l, c, &wire.QueryArrays{}).Return[0].SupportedProfile, wire.ArrayProfileStatistics)
	v, m := l.mapped("disk", 16)
	idle := l.create("idle", 16)
	volumes[v.ID] = Counters{Reads: 3, Writes: 4, Others: 5, ReadBytes: 10240, WrittenBytes: 2047, ReadTime: 1500 * time.Microsecond, WriteTime: 2 * time.Second, OthersTime: time.Millisecond}

	ask := &wire.QueryAssociatedStatisticsManifestForArray{ArrayStatisticsManifest: []wire.ArrayStatisticsManifest{
		wantCounters(array, wire.EntityTypeVirtualVolumeInfo, 1), wantCounters(array, wire.EntityTypeStoragePort, 1), wantCounters(array, wire.EntityTypeStorageArray, 1)}}
	manifest := do[wire.QueryAssociatedStatisticsManifestForArrayResponse](l, c, ask).Return
	require.Len(t, manifest, 2, "ports have no counters")
	of := map[string]int32{}
	for _, x := range manifest[0].EntityStatisticsManifest[0].CounterInfo {
		require.Equal(t, "CounterName", *x.NameValue[0].ParameterName)
		of[*x.NameValue[0].ParameterValue] = x.CounterID
	}
	require.Len(t, of, 11)
	require.Len(t, manifest[1].EntityStatisticsManifest[0].CounterInfo, 8, "the array counts no times")

	vvols := &wire.QueryAssociatedStatisticsForEntity{EntityTypeName: wire.EntityTypeVirtualVolumeInfo, EntityID: []string{v.ID.String(), "rfc4122.00000000-0000-4000-8000-000000000000", idle.ID.String(), "rfc4122." + strings.ToUpper(strings.TrimPrefix(v.ID.String(), "rfc4122.")), idle.ID.String()}}
	l.fault(c, "InvalidStatisticsContext", vvols)
	_, err := c.Call(t.Context(), &wire.SetStatisticsContext{ArrayStatisticsManifest: manifest})
	require.NoError(t, err)
	rows := do[wire.QueryAssociatedStatisticsForEntityResponse](l, c, vvols).Return
	require.Len(t, rows, 2)
	require.Equal(t, v.ID.String(), rows[0].EntityID)
	values := map[string]string{}
	for _, w := range strings.Split(rows[0].StatisticsString, ",") {
		id, x, found := strings.Cut(w, "=")
		require.True(t, found)
		values[id] = x
	}
	_, err = time.Parse(time.RFC3339Nano, values["11"])
	require.NoError(t, err)
	delete(values, "11")
	require.Equal(t, map[string]string{"1": "12", "2": "11", "3": "2002", "4": "3", "5": "1", "6": "10", "7": "4", "8": "2000", "9": "1", "10": "5"}, values)
	require.True(t, strings.HasPrefix(rows[1].StatisticsString, "1=0,2=0,"))
	arrays := do[wire.QueryAssociatedStatisticsForEntityResponse](l, c, &wire.QueryAssociatedStatisticsForEntity{EntityTypeName: wire.EntityTypeStorageArray, EntityID: []string{array}}).Return
	require.True(t, strings.HasPrefix(arrays[0].StatisticsString, "1=300,2=1028,4=100,6=4,7=200,9=1024,10=0,11="), arrays[0].StatisticsString)

	// A choice of its own, in its own order, of LUNs.
	_, err = c.Call(t.Context(), &wire.SetStatisticsContext{ArrayStatisticsManifest: []wire.ArrayStatisticsManifest{wantCounters(array, wire.EntityTypeStorageLun, of["WriteIOs"], of["ReadIOs"])}})
	require.NoError(t, err)
	lun := l.objectID(wire.EntityTypeStorageLun, m.LUN)
	require.Equal(t, []wire.AssociatedStatistics{{EntityID: lun, StatisticsString: "7=4,4=3"}}, do[wire.QueryAssociatedStatisticsForEntityResponse](l, c,
		&wire.QueryAssociatedStatisticsForEntity{EntityTypeName: wire.EntityTypeStorageLun, EntityID: []string{lun}}).Return)
	l.fault(c, "InvalidStatisticsContext", vvols)
	l.fault(l.host("b"), "InvalidStatisticsContext", vvols)
	_, err = c.Call(t.Context(), &wire.SetStatisticsContext{})
	require.NoError(t, err)
	l.fault(c, "InvalidStatisticsContext", &wire.QueryAssociatedStatisticsForEntity{EntityTypeName: wire.EntityTypeStorageLun, EntityID: []string{lun}})
}

func TestBadStatistics(t *testing.T) {
	l := newLab(t, counting(nil, Counters{}))
	c, array := l.host("a"), l.arrayID()
	twice := wantCounters(array, wire.EntityTypeStorageArray, 1)
	twice.EntityStatisticsManifest = append(twice.EntityStatisticsManifest, twice.EntityStatisticsManifest[0])
	for _, x := range []struct {
		fault string
		m     wire.ArrayStatisticsManifest
	}{
		{"InvalidArgument", wantCounters("", wire.EntityTypeStorageArray, 1)},
		{"InvalidStatisticsContext", wantCounters("StorageArray:other", wire.EntityTypeStorageArray, 1)},
		{"InvalidStatisticsContext", wantCounters(array, wire.EntityTypeStoragePort, 1)},
		{"InvalidStatisticsContext", wantCounters(array, "Nonsense", 1)},
		{"InvalidStatisticsContext", wantCounters(array, wire.EntityTypeStorageArray, 1, 3)},
		{"InvalidStatisticsContext", wantCounters(array, wire.EntityTypeVirtualVolumeInfo, 0)},
		{"InvalidStatisticsContext", wantCounters(array, wire.EntityTypeVirtualVolumeInfo, -1)},
		{"InvalidStatisticsContext", wantCounters(array, wire.EntityTypeVirtualVolumeInfo, 1<<31-1)},
		{"InvalidStatisticsContext", wantCounters(array, wire.EntityTypeVirtualVolumeInfo, make([]int32, 5000)...)},
		{"InvalidStatisticsContext", twice},
	} {
		l.fault(c, x.fault, &wire.SetStatisticsContext{ArrayStatisticsManifest: []wire.ArrayStatisticsManifest{x.m}})
	}
	manifest := func(m ...wire.ArrayStatisticsManifest) *wire.QueryAssociatedStatisticsManifestForArray {
		return &wire.QueryAssociatedStatisticsManifestForArray{ArrayStatisticsManifest: m}
	}
	l.fault(c, "InvalidArgument", manifest(wantCounters("", wire.EntityTypeStorageArray, 1)))
	l.fault(c, "InvalidArgument", manifest(wantCounters("StorageArray:other", wire.EntityTypeStorageArray, 1)))

	_, err := c.Call(t.Context(), &wire.SetStatisticsContext{ArrayStatisticsManifest: []wire.ArrayStatisticsManifest{wantCounters(array, wire.EntityTypeVirtualVolumeInfo, 1)}})
	require.NoError(t, err)
	of := func(ids ...string) *wire.QueryAssociatedStatisticsForEntity {
		return &wire.QueryAssociatedStatisticsForEntity{EntityTypeName: wire.EntityTypeVirtualVolumeInfo, EntityID: ids}
	}
	l.fault(c, "InvalidArgument", of(""))
	l.fault(c, "InvalidArgument", of("nonsense"))
	l.fault(c, "TooMany", of(make([]string, DefaultBatch+1)...))
	l.fault(c, "InvalidStatisticsContext", &wire.QueryAssociatedStatisticsForEntity{EntityID: []string{array}})
}

// TestMissingElements: what the schema wants at least once is missing.
func TestMissingElements(t *testing.T) {
	l := newLab(t, counting(nil, Counters{}))
	c := l.host("a")
	array := `<s:arrayStatisticsManifest><t:arrayId xmlns:t="http://statistics.data.vasa.vim.vmware.com/xsd">` + l.arrayID() + `</t:arrayId></s:arrayStatisticsManifest>`
	_, err := c.Call(t.Context(), &wire.SetStatisticsContext{ArrayStatisticsManifest: []wire.ArrayStatisticsManifest{wantCounters(l.arrayID(), wire.EntityTypeStorageArray, 1)}})
	require.NoError(t, err)
	for _, x := range []struct{ op, inner string }{
		{"queryAssociatedStatisticsManifestForArray", ""},
		{"queryAssociatedStatisticsManifestForArray", array},
		{"setStatisticsContext", array},
		{"queryAssociatedStatisticsForEntity", ""},
		{"queryAssociatedStatisticsForEntity", "<s:entityTypeName>StorageArray</s:entityTypeName>"},
		{"queryDrsMigrationCapabilityForPerformanceEx", ""},
		{"spaceStatsForStorageContainer", ""},
		{"queryStorageContainerForArray", ""},
		{"queryProtocolEndpointForArray", ""},
	} {
		body := `<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><s:` + x.op + ` xmlns:s="http://com.vmware.vim.vasa/2.0/xsd">` + x.inner + `</s:` + x.op + `></e:Body></e:Envelope>`
		answer, _, err := c.Post(t.Context(), "urn:"+x.op, []byte(body))
		require.NoError(t, err)
		_, err = wire.DecodeResponse(answer, wire.Lookup(x.op), wire.Options{Strict: true})
		require.Equal(t, "InvalidArgument", vasatest.Fault(err), "%s %s: %v", x.op, x.inner, err)
	}
}

// TestNoStatistics: an array without counters does not announce any.
func TestNoStatistics(t *testing.T) {
	l := newLab(t, nil)
	c := l.host("a")
	m := []wire.ArrayStatisticsManifest{wantCounters(l.arrayID(), wire.EntityTypeStorageArray, 1)}
	l.fault(c, "NotImplemented", &wire.QueryAssociatedStatisticsManifestForArray{ArrayStatisticsManifest: m})
	l.fault(c, "NotImplemented", &wire.SetStatisticsContext{ArrayStatisticsManifest: m})
	l.fault(c, "NotImplemented", &wire.QueryAssociatedStatisticsForEntity{EntityTypeName: wire.EntityTypeStorageArray, EntityID: []string{l.arrayID()}})
	half := l.o
	half.Statistics.Array = func() Counters { return Counters{} }
	_, err := New(half)
	require.ErrorIs(t, err, vvol.ErrInvalid)
}
