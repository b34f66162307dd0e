package soak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// Sample is what an array looked like at one moment.
type Sample struct {
	At         time.Duration // since the load began
	Commands   uint64        // of the load until then
	Written    uint64        // bytes, by commands that have ended
	Anonymous  uint64        // RssAnon of the array's process, bytes
	Held       uint64        // of it by Go: heap, stacks and what manages them, bytes
	Goroutines uint64        // of the array's process
	Disk       uint64        // bytes that the data directory occupies
	Live       uint64        // bytes that volumes can see, by the array's account
	Garbage    uint64        // bytes that wait for collection, by the array's account
	Reclaimed  uint64        // bytes given back since the array's start
	Forks      int           // snapshots and clones that there are
	Slowest    time.Duration // command since the last sample
}

// Limits of sampling.
const (
	samplesWanted = 360 // of one run
	sampleAtLeast = time.Second
	sampleAtMost  = 10 * time.Second
)

// watch takes samples until the time is over.
func (s *Soak) watch(ctx context.Context, d time.Duration, tell func(Sample)) error {
	every := min(max(d/samplesWanted, sampleAtLeast), sampleAtMost)
	tick := time.NewTicker(every)
	defer tick.Stop()
	end := time.NewTimer(d)
	defer end.Stop()
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil // whoever failed tells
		case <-end.C:
			return nil
		case <-tick.C:
		}
		now, err := s.sample(ctx, time.Since(began))
		if err != nil {
			return err
		}
		tell(now)
	}
}

func (s *Soak) sample(ctx context.Context, at time.Duration) (Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	s.mu.RLock()
	now := Sample{At: at, Commands: s.counts.commands.Load(), Written: s.counts.written.Load(), Forks: len(s.volumes) - s.c.Volumes,
		Slowest: time.Duration(s.counts.slowest.Swap(0))}
	s.mu.RUnlock()
	var reserved, released uint64
	places := map[string]*uint64{"go_memstats_sys_bytes": &reserved, "go_memstats_heap_released_bytes": &released,
		"vvsim_engine_live_bytes": &now.Live, "vvsim_engine_garbage_bytes": &now.Garbage,
		"vvsim_engine_reclaimed_bytes_total": &now.Reclaimed, "go_goroutines": &now.Goroutines}
	figures, err := s.a.API.Figures(ctx)
	if err != nil {
		return now, err
	}
	for name, at := range places {
		v, ok := figures[name]
		if !ok {
			return now, fmt.Errorf("/metrics has no %s", name)
		}
		*at = uint64(v)
	}
	now.Held = reserved - released
	if now.Anonymous, err = anonymous(s.a.PID); err != nil {
		return now, err
	}
	now.Disk, err = occupied(s.a.Data)
	return now, err
}

// anonymous is the RssAnon of a process in bytes (proc(5)).
func anonymous(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte("RssAnon:")); ok {
			kib, err := strconv.ParseUint(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(v), []byte("kB")))), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no RssAnon", pid)
}

// occupied is what a directory takes of its file system. What vanishes meanwhile takes nothing.
func occupied(dir string) (bytes uint64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return gone(err)
		}
		info, err := e.Info()
		if err != nil {
			return gone(err)
		}
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			bytes += uint64(s.Blocks) * 512
		}
		return nil
	})
	return bytes, err
}

func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func mib(bytes uint64) string { return fmt.Sprintf("%d MiB", bytes>>20) }

// Bounds of a run. Those of growth are judged on the second half of it: the middle
// value of its last quarter against that of the one before.
type Bounds struct {
	Journal      uint64        // bytes of the array's journal, which are always there
	Disk         uint64        // bytes on disk for a hundred live ones, under load
	CalmDisk     uint64        // the same when the load has ended
	DiskSlack    uint64        // bytes on disk that are tolerated besides: logs in use, and what is too little to be collected
	Memory       uint64        // RssAnon in bytes; 0 for none
	MemoryGrowth uint64        // bytes, of RssAnon and of what Go holds
	Goroutines   uint64        // growth of their number
	JudgeGrowth  time.Duration // length from which on growth is judged: it takes so long until the array is warm
}

// OnDisk is how much an array under load may occupy that holds so many live bytes.
func (b *Bounds) OnDisk(live uint64) uint64 { return live/100*b.Disk + b.Journal + b.DiskSlack }

// InCalm is OnDisk when the load has ended.
func (b *Bounds) InCalm(live uint64) uint64 { return live/100*b.CalmDisk + b.Journal + b.DiskSlack }

// Judge lists what is beyond the bounds.
func (b *Bounds) Judge(all []Sample) (beyond []string) {
	say := func(format string, args ...any) { beyond = append(beyond, fmt.Sprintf(format, args...)) }
	for _, s := range all {
		if s.Disk > b.OnDisk(s.Live) {
			say("%v: %s on disk for %s live, where %s are allowed", s.At.Round(time.Second), mib(s.Disk), mib(s.Live), mib(b.OnDisk(s.Live)))
			break
		}
	}
	for _, s := range all {
		if b.Memory > 0 && s.Anonymous > b.Memory {
			say("%v: RssAnon is %s, where %s are allowed", s.At.Round(time.Second), mib(s.Anonymous), mib(b.Memory))
			break
		}
	}
	if len(all) == 0 || all[len(all)-1].At < b.JudgeGrowth {
		return beyond
	}
	third, fourth := all[len(all)/2:len(all)*3/4], all[len(all)*3/4:]
	middle := func(part []Sample, of func(Sample) uint64) uint64 {
		values := make([]uint64, len(part))
		for i, s := range part {
			values[i] = of(s)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	for name, memory := range map[string]func(Sample) uint64{"RssAnon": func(s Sample) uint64 { return s.Anonymous }, "what Go holds": func(s Sample) uint64 { return s.Held }} {
		if before, after := middle(third, memory), middle(fourth, memory); after > before+b.MemoryGrowth {
			say("memory grows: %s was %s in the third quarter and %s in the last", name, mib(before), mib(after))
		}
	}
	goroutines := func(s Sample) uint64 { return s.Goroutines }
	if before, after := middle(third, goroutines), middle(fourth, goroutines); after > before+b.Goroutines {
		say("goroutines grow: %d in the third quarter, %d in the last", before, after)
	}
	return beyond
}
