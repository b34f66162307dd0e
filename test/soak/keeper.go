package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"vvsim/api"
	"vvsim/test/oracle"
)

// keeper makes, reverts and deletes volumes, one change after the other.
type keeper struct {
	s *Soak
	r *rand.Rand
}

func (k *keeper) init(s *Soak) { k.s, k.r = s, rand.New(rand.NewPCG(s.c.Seed, 1<<32)) }

func (k *keeper) run(ctx context.Context) error {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-k.s.stop:
			return nil
		case <-ctx.Done():
			return nil
		case <-pause.C:
		}
		if err := k.step(ctx); err != nil {
			return err
		}
		pause.Reset(time.Duration(k.r.Int64N(2 * int64(k.s.c.Pause))))
	}
}

// mostSources is how many volumes are frozen at one instant, at most.
const mostSources = 3

func (k *keeper) step(ctx context.Context) error {
	s := k.s
	forks := len(s.volumes) - s.c.Volumes
	kind := k.r.IntN(100)
	switch {
	case forks+mostSources > s.c.Forks || kind < 20 && forks > 0:
		return k.end(ctx, s.volumes[s.c.Volumes+k.r.IntN(forks)])
	case kind < 30:
		return k.revert(ctx)
	case kind < 35:
		_, err := s.create(ctx, "")
		return err
	case kind < 60:
		return k.copy(ctx, "clone")
	case kind < 75:
		return k.copy(ctx, "fast-clone")
	}
	return k.snapshot(ctx)
}

// any draws a volume.
func (k *keeper) any() *volume { return k.s.volumes[k.r.IntN(len(k.s.volumes))] }

// end deletes a fork, most of the time after it was read as a whole.
func (k *keeper) end(ctx context.Context, v *volume) error {
	if k.r.IntN(4) > 0 {
		if err := k.s.verify(ctx, v, k.r.IntN(len(k.s.hosts))); err != nil {
			return err
		}
	}
	return k.s.drop(ctx, v)
}

// drop deletes a volume that nobody begins to use any more.
func (s *Soak) drop(ctx context.Context, v *volume) error {
	s.mu.Lock()
	s.volumes = slices.DeleteFunc(s.volumes, func(x *volume) bool { return x == v })
	s.mu.Unlock()
	v.use.Lock() // the last user is gone
	defer v.use.Unlock()
	about, err := call[api.VVol](ctx, s, http.MethodGet, "/vvols/"+v.id, nil)
	if err != nil {
		return err
	}
	for _, b := range about.Bindings {
		if _, err := call[any](ctx, s, http.MethodDelete, "/bindings/"+b.ID, nil); err != nil {
			return err
		}
	}
	s.counts.drops.Add(1)
	_, err = call[any](ctx, s, http.MethodDelete, "/vvols/"+v.id, nil)
	return err
}

// fork runs a call that makes a volume of each source, and welcomes them.
func (k *keeper) fork(ctx context.Context, sources []*volume, ask func() ([]api.VVol, error)) error {
	images := make([]*oracle.Image, len(sources))
	for i, v := range sources {
		images[i] = v.image
	}
	f := k.s.oracle.BeginFork(images...)
	made, err := ask()
	images = k.s.oracle.EndFork(f)
	var problem *api.Error
	if errors.As(err, &problem) && problem.Type == "urn:vvsim:too-many-snapshots" {
		k.s.counts.refused.Add(1) // the chain is as deep as may be until the engine has merged layers
		return nil
	}
	if err != nil {
		return err
	}
	if len(made) != len(images) {
		return fmt.Errorf("%d volumes made of %d", len(made), len(images))
	}
	for i, m := range made {
		v := &volume{id: m.ID, image: images[i], readOnly: m.ReadOnly}
		if m.SnapshotOf != "" {
			v.of = sources[i].id
		}
		if err := k.s.welcome(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

func (k *keeper) snapshot(ctx context.Context) error {
	var sources []*volume
	var items []map[string]any
	for range 1 + k.r.IntN(mostSources) {
		if v := k.any(); !slices.Contains(sources, v) {
			sources = append(sources, v)
			items = append(items, map[string]any{"vvol": v.id, "writable": k.r.IntN(4) == 0})
		}
	}
	k.s.counts.snapshots.Add(uint64(len(items)))
	return k.fork(ctx, sources, func() ([]api.VVol, error) {
		return call[[]api.VVol](ctx, k.s, http.MethodPost, "/snapshots", map[string]any{"items": items})
	})
}

func (k *keeper) copy(ctx context.Context, kind string) error {
	v := k.any()
	k.s.counts.clones.Add(1)
	return k.fork(ctx, []*volume{v}, func() ([]api.VVol, error) {
		made, err := call[api.VVol](ctx, k.s, http.MethodPost, "/vvols/"+v.id+"/"+kind, nil)
		return []api.VVol{made}, err
	})
}

// revert takes a volume back to one of its snapshots, while nobody uses it.
func (k *keeper) revert(ctx context.Context) error {
	s := k.s
	sources := map[string]*volume{}
	for _, v := range s.volumes {
		if !v.readOnly {
			sources[v.id] = v
		}
	}
	var snapshots []*volume
	for _, v := range s.volumes {
		if sources[v.of] != nil {
			snapshots = append(snapshots, v)
		}
	}
	if len(snapshots) == 0 {
		return nil
	}
	snapshot := snapshots[k.r.IntN(len(snapshots))]
	v := sources[snapshot.of]
	v.use.Lock()
	defer v.use.Unlock()
	f := s.oracle.BeginFork(snapshot.image)
	_, err := call[api.VVol](ctx, s, http.MethodPost, "/vvols/"+v.id+"/revert", map[string]any{"snapshot": snapshot.id})
	images := s.oracle.EndFork(f)
	var problem *api.Error
	if errors.As(err, &problem) && problem.Type == "urn:vvsim:too-many-snapshots" {
		s.counts.refused.Add(1)
		return nil
	}
	if err != nil {
		return err
	}
	s.counts.reverts.Add(1)
	v.image = images[0]
	return v.ready(ctx)
}
