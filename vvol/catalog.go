package vvol

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"vvsim/vvol/index"
	"vvsim/vvol/kept"
	"vvsim/vvol/secondary"
)

// catalog is the index in memory of the rows in Meta, and the claims of
// operations under way. Everything in it but the claims is derived from rows by
// their put and drop. Rows it hands out are never changed.
type catalog struct {
	mu sync.RWMutex // guards all below; held for memory work only

	counters   counters
	containers map[ContainerID]*containerRow
	named      map[string]ContainerID
	pools      map[ID]*poolRow
	poolsIn    index.Of[ContainerID, ID] // ids of pools
	emptied    map[ID]*poolRow           // pools on which no volume draws
	hosts      map[HostID]*hostRow
	initiators map[string]HostID

	volumes     map[ID]*volumeRow
	byName      index.Of[string, ID]
	byContainer index.Of[ContainerID, ID]
	bySource    index.Of[ID, ID]      // snapshots of a volume
	byPool      index.Of[ID, ID]      // volumes that draw on the pool of a thick one
	byWarning   index.Of[warning, ID] // volumes that have their container warn
	byPair      index.Of[pair, ID]
	byKey       index.Of[string, ID]

	bindings    map[BindingID]*bindingRow
	ofVolume    map[ID][]*bindingRow
	ofHost      map[HostID]map[BindingID]*bindingRow
	onPE        map[PEID]int
	secondaries map[peHost]*secondary.IDs

	luns   map[uint16]*lunRow
	lunsOf map[ID][]uint16

	reserved map[string]bool // names of the reservation rows, which are read when they are needed

	tasks      kept.Ring[*taskRow]
	unfinished map[uint64]bool // numbers of the tasks that have not ended
	ended      kept.Ended      // of the others
	events     kept.Ring[*eventRow]

	// Claims: not rows, forgotten at the end of the operation or of the process.
	births      int                 // volumes about to be created
	filling     map[ContainerID]int // the same by container
	closing     map[ContainerID]bool
	takenNames  map[string]bool // container names about to be used
	takenLUNs   map[uint16]bool
	newBindings int
	binding     map[HostID]int  // bindings about to be made, by host
	joining     map[HostID]bool // hosts that are about to become one
	pins        map[ID]int      // volumes whose content a copy reads or writes
	attached    map[BindingID]bool
	mapped      map[uint16]bool
}

// warning is a threshold that a volume asks its container to have.
type warning struct {
	container ContainerID
	percent   int
}

// pair is one metadata item.
type pair struct{ key, value string }

type peHost struct {
	pe   PEID
	host HostID
}

func newCatalog() *catalog {
	return &catalog{
		containers: map[ContainerID]*containerRow{}, named: map[string]ContainerID{}, pools: map[ID]*poolRow{},
		poolsIn: index.Of[ContainerID, ID]{}, emptied: map[ID]*poolRow{},
		hosts: map[HostID]*hostRow{}, initiators: map[string]HostID{},
		volumes: map[ID]*volumeRow{}, byName: index.Of[string, ID]{}, byContainer: index.Of[ContainerID, ID]{},
		bySource: index.Of[ID, ID]{}, byPool: index.Of[ID, ID]{}, byWarning: index.Of[warning, ID]{}, byPair: index.Of[pair, ID]{}, byKey: index.Of[string, ID]{},
		bindings: map[BindingID]*bindingRow{}, ofVolume: map[ID][]*bindingRow{},
		ofHost: map[HostID]map[BindingID]*bindingRow{}, onPE: map[PEID]int{}, secondaries: map[peHost]*secondary.IDs{},
		luns: map[uint16]*lunRow{}, lunsOf: map[ID][]uint16{}, unfinished: map[uint64]bool{},
		reserved: map[string]bool{},
		filling:  map[ContainerID]int{}, closing: map[ContainerID]bool{}, takenNames: map[string]bool{},
		takenLUNs: map[uint16]bool{}, binding: map[HostID]int{}, joining: map[HostID]bool{}, pins: map[ID]int{}, attached: map[BindingID]bool{}, mapped: map[uint16]bool{},
	}
}

func (r *formatRow) put(*catalog)  {}
func (r *formatRow) drop(*catalog) {}

// put keeps the larger numbers: those in memory run ahead of those written.
func (r *counters) put(c *catalog) {
	c.counters.Binding = max(c.counters.Binding, r.Binding)
	c.counters.Serial = max(c.counters.Serial, r.Serial)
	c.counters.Task = max(c.counters.Task, r.Task)
	c.counters.Event = max(c.counters.Event, r.Event)
}
func (r *counters) drop(*catalog) {}

func (r *containerRow) put(c *catalog) {
	c.containers[r.ID], c.named[r.Name] = r, r.ID
}

func (r *containerRow) drop(c *catalog) {
	delete(c.containers, r.ID)
	delete(c.named, r.Name)
}

func (r *poolRow) put(c *catalog) {
	c.pools[r.ID] = r
	c.poolsIn.Add(r.Container, r.ID)
	c.noteEmptied(r.ID)
}

func (r *poolRow) drop(c *catalog) {
	delete(c.pools, r.ID)
	c.poolsIn.Remove(r.Container, r.ID)
	delete(c.emptied, r.ID)
}

// noteEmptied keeps emptied after a change of a pool or of what draws on it.
func (c *catalog) noteEmptied(pool ID) {
	if p := c.pools[pool]; p != nil && c.byPool.Size(pool) == 0 {
		c.emptied[pool] = p
	} else {
		delete(c.emptied, pool)
	}
}

func (r *reservationRow) put(c *catalog)  { c.reserved[r.Name] = true }
func (r *reservationRow) drop(c *catalog) { delete(c.reserved, r.Name) }

func (r *volumeRow) put(c *catalog) {
	if old := c.volumes[r.ID]; old != nil {
		old.drop(c)
	}
	c.volumes[r.ID] = r
	c.byName.Add(r.Name, r.ID)
	c.byContainer.Add(r.Container, r.ID)
	if r.SnapshotOf != (ID{}) {
		c.bySource.Add(r.SnapshotOf, r.ID)
	}
	if r.Pool != (ID{}) {
		c.byPool.Add(r.Pool, r.ID)
		c.noteEmptied(r.Pool)
	}
	if n := r.Quality.WarnPercentUsed; n > 0 {
		c.byWarning.Add(warning{r.Container, n}, r.ID)
	}
	for k, v := range r.Metadata {
		c.byPair.Add(pair{k, v}, r.ID)
		c.byKey.Add(k, r.ID)
	}
}

// drop removes what the catalog holds under the id, which may be an older row.
func (r *volumeRow) drop(c *catalog) {
	old := c.volumes[r.ID]
	if old == nil {
		return
	}
	delete(c.volumes, old.ID)
	c.byName.Remove(old.Name, old.ID)
	c.byContainer.Remove(old.Container, old.ID)
	if old.SnapshotOf != (ID{}) {
		c.bySource.Remove(old.SnapshotOf, old.ID)
	}
	if old.Pool != (ID{}) {
		c.byPool.Remove(old.Pool, old.ID)
		c.noteEmptied(old.Pool)
	}
	if n := old.Quality.WarnPercentUsed; n > 0 {
		c.byWarning.Remove(warning{old.Container, n}, old.ID)
	}
	for k, v := range old.Metadata {
		c.byPair.Remove(pair{k, v}, old.ID)
		c.byKey.Remove(k, old.ID)
	}
}

func (r *bindingRow) put(c *catalog) {
	c.bindings[r.ID] = r
	c.ofVolume[r.VVol] = append(c.ofVolume[r.VVol], r)
	of := c.ofHost[r.Host]
	if of == nil {
		of = map[BindingID]*bindingRow{}
		c.ofHost[r.Host] = of
	}
	of[r.ID] = r
	c.onPE[r.PE]++
	c.secondariesOf(r.PE, r.Host).Mark(r.Secondary)
}

func (r *bindingRow) drop(c *catalog) {
	if c.bindings[r.ID] == nil {
		return
	}
	delete(c.bindings, r.ID)
	delete(c.attached, r.ID)
	rest := slices.DeleteFunc(c.ofVolume[r.VVol], func(b *bindingRow) bool { return b.ID == r.ID })
	if c.ofVolume[r.VVol] = rest; len(rest) == 0 {
		delete(c.ofVolume, r.VVol)
	}
	if of := c.ofHost[r.Host]; len(of) == 1 {
		delete(c.ofHost, r.Host)
	} else {
		delete(of, r.ID)
	}
	if c.onPE[r.PE]--; c.onPE[r.PE] == 0 {
		delete(c.onPE, r.PE)
	}
	c.secondariesOf(r.PE, r.Host).Free(r.Secondary, true)
}

func (c *catalog) secondariesOf(pe PEID, host HostID) *secondary.IDs {
	k := peHost{pe, host}
	s := c.secondaries[k]
	if s == nil {
		s = &secondary.IDs{}
		c.secondaries[k] = s
	}
	return s
}

func (r *hostRow) put(c *catalog) {
	if old := c.hosts[r.ID]; old != nil {
		old.drop(c)
	}
	c.hosts[r.ID] = r
	for _, name := range r.Initiators {
		c.initiators[name] = r.ID
	}
}

func (r *hostRow) drop(c *catalog) {
	delete(c.hosts, r.ID)
	for _, name := range r.Initiators {
		delete(c.initiators, name)
	}
}

func (r *lunRow) put(c *catalog) {
	c.luns[r.LUN] = r
	c.lunsOf[r.VVol] = append(c.lunsOf[r.VVol], r.LUN)
	slices.Sort(c.lunsOf[r.VVol])
}

func (r *lunRow) drop(c *catalog) {
	delete(c.luns, r.LUN)
	delete(c.mapped, r.LUN)
	rest := slices.DeleteFunc(c.lunsOf[r.VVol], func(n uint16) bool { return n == r.LUN })
	if c.lunsOf[r.VVol] = rest; len(rest) == 0 {
		delete(c.lunsOf, r.VVol)
	}
}

func (r *taskRow) put(c *catalog) {
	r.drop(c)
	c.tasks.Put(r.Number, r)
	if r.finished() {
		c.ended.Add(r.Number, r.Ended)
	} else {
		c.unfinished[r.Number] = true
	}
}

// drop removes what the catalog holds under the number, which may be an older row.
func (r *taskRow) drop(c *catalog) {
	if old := c.tasks.Get(r.Number); old != nil && old.finished() {
		c.ended.Remove(old.Number, old.Ended)
	}
	delete(c.unfinished, r.Number)
	c.tasks.Remove(r.Number)
}

func (t *Task) finished() bool { return t.State == TaskSuccess || t.State == TaskError }

func (r *eventRow) put(c *catalog)  { c.events.Put(r.Serial, r) }
func (r *eventRow) drop(c *catalog) { c.events.Remove(r.Serial) }

// inUse tells whether a volume is bound or mapped, and how.
func (c *catalog) inUse(id ID) (bindings, luns int) { return len(c.ofVolume[id]), len(c.lunsOf[id]) }

// listable tells whether a volume exists for queries: not in creation, not being
// deleted, not prepared only (vasa.md 6).
func (r *volumeRow) listable() bool {
	return r.State == Ready || r.State == Resizing || r.State == Reverting || r.State == Converting
}

// copyOut is the row as callers get it: theirs to change.
func (r *volumeRow) copyOut() VirtualVolume {
	v := r.VirtualVolume
	v.Metadata = maps.Clone(v.Metadata)
	return v
}

func (r *containerRow) copyOut() StorageContainer {
	k := r.StorageContainer
	k.ServiceLevels = slices.Clone(k.ServiceLevels)
	return k
}

func (r *hostRow) copyOut() Host {
	h := r.Host
	h.Initiators = slices.Clone(h.Initiators)
	return h
}

// bySerial orders volumes by age.
func bySerial(a, b VirtualVolume) int { return cmp.Compare(a.Serial, b.Serial) }
