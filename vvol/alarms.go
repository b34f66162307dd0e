package vvol

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"vvsim/vvol/alarm"
	"vvsim/vvol/policy"
)

// Limits of one Tend.
const (
	complianceAtOnce  = 2048 // volumes that are looked at
	transitionsAtOnce = 256  // events of volumes in and out of compliance; the rest come with the next
)

// Kinds of alarms and of the events that tell of their changes.
const (
	ContainerThreshold = "container.threshold"
	VVolCompliance     = "vvol.compliance"
	HostConflict       = "host.conflict"
)

// conflictAlarm is how long a conflict of hosts is in alarm after it was last reported: hosts
// declare themselves when they begin a session, and nobody says that a twin is gone.
const conflictAlarm = time.Hour

// alarms is what Tend found. Memory of the process: after a start, alarms are found anew.
type alarms struct {
	tending sync.Mutex // one Tend at a time; guards next
	next    []ID       // volumes to look at

	mu    sync.Mutex // guards board
	board alarm.Board
}

// Alarms lists what was not Green at the last Tend, by kind and object: containers that
// are full beyond the lowest WarnPercentUsed of their levels and volumes (Yellow) or altogether (Red),
// volumes out of compliance (Red), and conflicts of hosts within an hour (Red).
func (s *Service) Alarms() []Alarm {
	s.alarms.mu.Lock()
	all := s.alarms.board.All()
	s.alarms.mu.Unlock()
	slices.SortFunc(all, func(a, b Alarm) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Object, b.Object)) })
	return all
}

// Tend does what is due from time to time: it forgets prepared snapshots that were not
// taken, looks at all containers, at the volumes in alarm and at the next of the others, and makes an event of each
// alarm that comes, changes or goes. One call takes little time however many volumes there are;
// with n volumes, n/1024 calls look at all of them. Its caller decides how often. Errors: those of ctx
// and of the catalog.
func (s *Service) Tend(ctx context.Context) error {
	end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	s.alarms.tending.Lock()
	defer s.alarms.tending.Unlock()
	if err := s.expireAllPrepared(ctx); err != nil {
		return err
	}
	b := new(batch)
	seen := s.watchContainers(ctx, b)
	found, err := s.watchVolumes(ctx, b)
	if err != nil {
		return err
	}
	if len(b.events) > 0 {
		if err := s.commit(ctx, b); err != nil {
			return err // and the alarms are as before, to be told with the next
		}
	}
	s.alarms.mu.Lock()
	defer s.alarms.mu.Unlock()
	for _, f := range append(seen, found...) {
		s.alarms.board.Set(f.key, f.status, f.message, s.now())
	}
	for _, a := range s.alarms.board.All() {
		if !s.exists(a) {
			s.alarms.board.Set(alarm.Key{Kind: a.Kind, Object: a.Object}, Green, "", s.now())
		}
	}
	return nil
}

// finding is the status of something.
type finding struct {
	key     alarm.Key
	status  Status
	message string
}

// tell adds an event if a finding is news.
func (s *Service) tell(b *batch, f finding) (news bool) {
	s.alarms.mu.Lock()
	defer s.alarms.mu.Unlock()
	if !s.alarms.board.Changes(f.key, f.status) {
		return false
	}
	b.event(f.key.Kind, f.key.Object, f.message)
	b.events[len(b.events)-1].Status = f.status
	return true
}

func (s *Service) statusOf(k alarm.Key) Status {
	s.alarms.mu.Lock()
	defer s.alarms.mu.Unlock()
	return s.alarms.board.Status(k)
}

// watchContainers looks at the usage of all containers. One that is in alarm, or would be, is measured first:
// thick volumes may have given space back.
func (s *Service) watchContainers(ctx context.Context, b *batch) (all []finding) {
	for _, k := range s.Containers() {
		key := alarm.Key{Kind: ContainerThreshold, Object: k.ID.String()}
		before, warn := s.statusOf(key), s.warnPercent(&k)
		used := s.containerUsed(k.ID)
		if before != Green || alarm.Level(before, used, k.Size, warn) != Green {
			s.refresh(ctx, k.ID)
			used = s.containerUsed(k.ID)
		}
		f := finding{key, alarm.Level(before, used, k.Size, warn), fmt.Sprintf("%s: %d of %d bytes used, %.1f %%", k.Name, used, k.Size,
			float64(used)*100/float64(k.Size))}
		s.tell(b, f)
		all = append(all, f)
	}
	return all
}

// warnPercent is the lowest warning of the container's levels and volumes, 0 when there is none.
func (s *Service) warnPercent(k *StorageContainer) (lowest int) {
	for _, l := range k.ServiceLevels {
		if l.WarnPercentUsed > 0 && (lowest == 0 || l.WarnPercentUsed < lowest) {
			lowest = l.WarnPercentUsed
		}
	}
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	for percent := 1; percent <= policy.MaxPercent && (lowest == 0 || percent < lowest); percent++ {
		if s.catalog.byWarning.Size(warning{k.ID, percent}) > 0 {
			return percent
		}
	}
	return lowest
}

// watchVolumes looks at the compliance of some volumes.
func (s *Service) watchVolumes(ctx context.Context, b *batch) (all []finding, err error) {
	ids, changes, n := s.toLookAt(), 0, 0
	defer func() { s.alarms.next = append(ids[n:], s.alarms.next...) }()
	for ; n < len(ids) && changes < transitionsAtOnce; n++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c, err := s.Compliance(ctx, ids[n])
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		f := finding{alarm.Key{Kind: VVolCompliance, Object: ids[n].String()}, Green, "compliant"}
		if !c.Compliant {
			f.status, f.message = Red, c.Violations[0].String()
		}
		if s.tell(b, f) {
			changes++
		}
		all = append(all, f)
	}
	return all, nil
}

// toLookAt takes the volumes to look at now, each once: those in alarm, so that it is over
// soon, and the next ones of a round through all.
func (s *Service) toLookAt() (ids []ID) {
	a := &s.alarms
	if len(a.next) == 0 {
		a.next = s.VVolIDs(Filter{})
	}
	a.mu.Lock()
	board := a.board.All()
	a.mu.Unlock()
	taken := map[ID]bool{}
	for _, x := range board {
		if id, err := ParseID(x.Object); err == nil && x.Kind == VVolCompliance && len(ids) < complianceAtOnce/2 {
			taken[id] = true
			ids = append(ids, id)
		}
	}
	for ; len(ids) < complianceAtOnce && len(a.next) > 0; a.next = a.next[1:] {
		if id := a.next[0]; !taken[id] {
			taken[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}

// exists tells whether what an alarm is about is still there. The board is locked.
func (s *Service) exists(a Alarm) bool {
	switch a.Kind {
	case ContainerThreshold:
		_, err := s.containerRow(a.Object)
		return err == nil
	case HostConflict:
		return s.now().Sub(a.Since) < conflictAlarm
	}
	id, err := ParseID(a.Object)
	return err == nil && s.row(id) != nil
}

// alarmConflict puts a conflict of hosts into alarm, anew if it is; of more than conflictsKept
// the rest are events only.
func (s *Service) alarmConflict(guid, message string) {
	s.alarms.mu.Lock()
	defer s.alarms.mu.Unlock()
	k := alarm.Key{Kind: HostConflict, Object: guid}
	s.alarms.board.Set(k, Green, "", s.now())
	if s.alarms.board.Count(HostConflict) < conflictsKept {
		s.alarms.board.Set(k, Red, message, s.now())
	}
}
