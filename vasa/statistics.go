package vasa

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// statisticsOperations are the operations of vasa.md 2.9, which is silent on most of
// what they mean. Chosen here:
//
//   - the pairs of a counter are called as the enumerations that their values are of,
//     without "Enum";
//   - the manifest is asked with the types of entities that are wanted, and answered with
//     all counters that the array has for them;
//   - the context chooses among those counters; each client has one, and an empty one
//     ends it;
//   - statisticsString has a counter's id, "=" and its value for each counter of the
//     context, in its order, with commas between them;
//   - entities that do not exist are passed over, and those that are named twice are told
//     once.
func (p *Provider) statisticsOperations() map[string]handler {
	return map[string]handler{
		"queryAssociatedStatisticsManifestForArray": answers(p.queryAssociatedStatisticsManifestForArray),
		"setStatisticsContext":                      obeys(p.setStatisticsContext),
		"queryAssociatedStatisticsForEntity":        answers(p.queryAssociatedStatisticsForEntity),
	}
}

// statisticsInterval is how often counters are worth a look, in seconds: as often as
// vSphere looks at its own.
const statisticsInterval = 20

// counter is one that the array has. Its id is its place in the table, from 1.
type counter struct {
	name  wire.CounterName
	unit  wire.CounterUnit
	timed bool // needs times, which the array as a whole does not count
	value func(Counters) uint64
}

func counters() []counter {
	ms := func(d time.Duration) uint64 { return uint64(d.Milliseconds()) }
	return []counter{
		{wire.CounterNameTotalIOs, wire.CounterUnitNumber, false, func(c Counters) uint64 { return c.Reads + c.Writes + c.Others }},
		{wire.CounterNameKBytesTransfered, wire.CounterUnitKiloByte, false, func(c Counters) uint64 { return (c.ReadBytes + c.WrittenBytes) >> 10 }},
		{wire.CounterNameIOTimeCounter, wire.CounterUnitMilliSecond, true, func(c Counters) uint64 { return ms(c.ReadTime + c.WriteTime + c.OthersTime) }},
		{wire.CounterNameReadIOs, wire.CounterUnitNumber, false, func(c Counters) uint64 { return c.Reads }},
		{wire.CounterNameReadIOTimeCounter, wire.CounterUnitMilliSecond, true, func(c Counters) uint64 { return ms(c.ReadTime) }},
		{wire.CounterNameKBytesRead, wire.CounterUnitKiloByte, false, func(c Counters) uint64 { return c.ReadBytes >> 10 }},
		{wire.CounterNameWriteIOs, wire.CounterUnitNumber, false, func(c Counters) uint64 { return c.Writes }},
		{wire.CounterNameWriteIOTimeCounter, wire.CounterUnitMilliSecond, true, func(c Counters) uint64 { return ms(c.WriteTime) }},
		{wire.CounterNameKBytesWritten, wire.CounterUnitKiloByte, false, func(c Counters) uint64 { return c.WrittenBytes >> 10 }},
		{wire.CounterNameOtherIOs, wire.CounterUnitNumber, false, func(c Counters) uint64 { return c.Others }},
		{wire.CounterNameStatisticsTime, wire.CounterUnitTimestamp, false, nil}, // when the others were read
	}
}

// counterInfo describes a counter.
func (c counter) info(id int32) wire.CounterInfo {
	kind, collected := wire.CounterTypeUint64, wire.CounterCollectedTypeCumulative
	if c.value == nil {
		kind, collected = wire.CounterTypeString, wire.CounterCollectedTypeAbsolute
	}
	return wire.CounterInfo{CounterID: id, NameValue: []wire.NameValuePair{pair("CounterName", string(c.name)), pair("CounterType", string(kind)),
		pair("CounterUnit", string(c.unit)), pair("CounterCollectedType", string(collected))}}
}

// statisticsEntities are the types of entities that have counters: VVols, flat LUNs,
// which are VVols too, and the array.
var statisticsEntities = []wire.EntityType{wire.EntityTypeVirtualVolumeInfo, wire.EntityTypeStorageLun, wire.EntityTypeStorageArray}

// manifest has the counters of the entities of a type; nil if they have none.
func (p *Provider) manifest(t wire.EntityType) *wire.EntityStatisticsManifest {
	if !slices.Contains(statisticsEntities, t) {
		return nil
	}
	m := &wire.EntityStatisticsManifest{EntityTypeName: t, MaxRetrievalSize: int32(p.o.Limits.Batch), PollingInterval: statisticsInterval}
	for i, c := range counters() {
		if t != wire.EntityTypeStorageArray || !c.timed {
			m.CounterInfo = append(m.CounterInfo, c.info(int32(i+1)))
		}
	}
	return m
}

func (p *Provider) checkStatistics() error {
	if !p.o.Statistics.offered() {
		return refuse(&wire.NotImplemented{}, "the array has no statistics")
	}
	return nil
}

func (p *Provider) queryAssociatedStatisticsManifestForArray(_ context.Context, _ *caller, q *wire.QueryAssociatedStatisticsManifestForArray) (*wire.QueryAssociatedStatisticsManifestForArrayResponse, error) {
	if err := p.checkStatistics(); err != nil {
		return nil, err
	}
	if err := p.checkBatch(len(q.ArrayStatisticsManifest)); err != nil {
		return nil, err
	}
	r := &wire.QueryAssociatedStatisticsManifestForArrayResponse{}
	for _, asked := range q.ArrayStatisticsManifest {
		if err := p.checkArray(asked.ArrayID); err != nil {
			return nil, err
		}
		if err := p.checkBatch(len(asked.EntityStatisticsManifest)); err != nil {
			return nil, err
		}
		m := wire.ArrayStatisticsManifest{ArrayID: p.arrayID()}
		for _, e := range asked.EntityStatisticsManifest {
			if has := p.manifest(e.EntityTypeName); has != nil {
				m.EntityStatisticsManifest = append(m.EntityStatisticsManifest, *has)
			}
		}
		if len(m.EntityStatisticsManifest) > 0 {
			r.Return = append(r.Return, m)
		}
	}
	return r, nil
}

func (p *Provider) setStatisticsContext(_ context.Context, c *caller, q *wire.SetStatisticsContext) error {
	if err := p.checkStatistics(); err != nil {
		return err
	}
	mismatch := func(format string, args ...any) error {
		return refuse(&wire.InvalidStatisticsContext{}, format, args...)
	}
	chosen := map[wire.EntityType][]int32{}
	for _, m := range q.ArrayStatisticsManifest {
		if m.ArrayID == "" {
			return invalid("arrayId is empty")
		}
		if m.ArrayID != p.arrayID() {
			return mismatch("no array %q", m.ArrayID)
		}
		if err := p.checkBatch(len(m.EntityStatisticsManifest)); err != nil {
			return err
		}
		for _, e := range m.EntityStatisticsManifest {
			has := p.manifest(e.EntityTypeName)
			if has == nil || chosen[e.EntityTypeName] != nil {
				return mismatch("entityTypeName %q has no counters, or comes twice", e.EntityTypeName)
			}
			if len(e.CounterInfo) == 0 {
				return invalid("%s without counters", e.EntityTypeName)
			}
			if len(e.CounterInfo) > len(has.CounterInfo) {
				return mismatch("%d counters of %s, there are %d", len(e.CounterInfo), e.EntityTypeName, len(has.CounterInfo))
			}
			for _, x := range e.CounterInfo {
				if !slices.ContainsFunc(has.CounterInfo, func(y wire.CounterInfo) bool { return x.CounterID == y.CounterID }) {
					return mismatch("%s has no counter %d", e.EntityTypeName, x.CounterID)
				}
				chosen[e.EntityTypeName] = append(chosen[e.EntityTypeName], x.CounterID)
			}
		}
	}
	c.client().SetStatistics(chosen)
	return nil
}

func (p *Provider) queryAssociatedStatisticsForEntity(_ context.Context, c *caller, q *wire.QueryAssociatedStatisticsForEntity) (*wire.QueryAssociatedStatisticsForEntityResponse, error) {
	if err := p.checkStatistics(); err != nil {
		return nil, err
	}
	counterIDs := c.client().Statistics()[q.EntityTypeName]
	if len(counterIDs) == 0 {
		return nil, refuse(&wire.InvalidStatisticsContext{}, "no statistics context for %q: setStatisticsContext makes one", q.EntityTypeName)
	}
	if err := p.checkBatch(len(q.EntityID)); err != nil {
		return nil, err
	}
	entities, values, err := p.countersOf(c, q.EntityTypeName, unique(q.EntityID))
	if err != nil {
		return nil, err
	}
	at := p.o.Clock().UTC().Format(time.RFC3339Nano)
	r := &wire.QueryAssociatedStatisticsForEntityResponse{}
	for i, id := range entities {
		r.Return = append(r.Return, wire.AssociatedStatistics{EntityID: id, StatisticsString: statisticsString(counterIDs, values[i], at)})
	}
	return r, nil
}

// unique are ids in their order, each once; those of VVols are taken in any case.
func unique(all []string) (list []string) {
	seen := make(map[string]bool, len(all))
	for _, s := range all {
		if key := strings.ToLower(s); !seen[key] {
			seen[key], list = true, append(list, s)
		}
	}
	return list
}

// statisticsString has the values of counters.
func statisticsString(ids []int32, c Counters, at string) string {
	all := counters()
	words := make([]string, 0, len(ids))
	for _, id := range ids {
		v := at
		if f := all[id-1].value; f != nil {
			v = strconv.FormatUint(f(c), 10)
		}
		words = append(words, strconv.Itoa(int(id))+"="+v)
	}
	return strings.Join(words, ",")
}

// countersOf reads the counters of those entities that exist.
func (p *Provider) countersOf(c *caller, t wire.EntityType, entities []string) (exist []string, values []Counters, err error) {
	var volumes []vvol.ID
	switch t {
	case wire.EntityTypeStorageArray:
		list, err := chosen(p, t, entities, []string{p.arrayID()}, func(id string) string { return id })
		for range list {
			values = append(values, p.o.Statistics.Array())
		}
		return list, values, err
	case wire.EntityTypeStorageLun:
		list, err := chosen(p, t, entities, p.luns(c), lunID)
		if err != nil {
			return nil, nil, err
		}
		for _, x := range list {
			exist, volumes = append(exist, x.id), append(volumes, x.volume.ID)
		}
	default:
		for _, s := range entities {
			id, err := volumeID(s)
			if err != nil {
				return nil, nil, err
			}
			if _, err := p.volume(s); err == nil {
				exist, volumes = append(exist, s), append(volumes, id)
			}
		}
	}
	return exist, p.o.Statistics.Volumes(volumes), nil
}
