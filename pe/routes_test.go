package pe

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
)

// idleUnit executes commands that end when they are told to.
type idleUnit struct{ release chan struct{} }

func (u idleUnit) Prepare(*scsi.Task) int { return 0 }
func (u idleUnit) Execute(*scsi.Task) scsi.Response {
	<-u.release
	return scsi.Good()
}
func (idleUnit) Manage(context.Context, scsi.TaskManagement) scsi.ManagementResponse {
	return scsi.FunctionComplete
}
func (idleUnit) NexusLost(*scsi.Nexus) {}

// TestRouteDrains waits for commands on their way and refuses later ones.
func TestRouteDrains(t *testing.T) {
	u := idleUnit{make(chan struct{})}
	r := newRoute(nil, u)
	require.True(t, r.enter())
	done := make(chan struct{})
	go func() { r.Execute(&scsi.Task{CDB: make([]byte, 16)}); close(done) }()
	r.close()
	r.close()
	require.False(t, r.enter(), "a closed route lets nobody in")
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.Error(t, r.wait(ctx))
	close(u.release)
	<-done
	require.NoError(t, r.wait(t.Context()))
}

// TestRouteTable changes a table under readers.
func TestRouteTable(t *testing.T) {
	var table routeTable
	var wait sync.WaitGroup
	stop := make(chan struct{})
	fixed := newRoute(nil, nil)
	table.put(subsidiaryKey(256, 1), fixed)
	for range 4 {
		wait.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if table.get(subsidiaryKey(256, 1)) != fixed {
						t.Error("a route was disturbed by changes of others")
						return
					}
				}
			}
		})
	}
	random := rand.New(rand.NewPCG(1, 1))
	known := map[uint64]*route{}
	for range 5000 {
		k := subsidiaryKey(256, 2+random.Uint64N(1000))
		if r := known[k]; r != nil {
			table.remove(k, r)
			delete(known, k)
		} else {
			known[k] = newRoute(nil, nil)
			table.put(k, known[k])
		}
	}
	close(stop)
	wait.Wait()
	n := 0
	for k, r := range table.all {
		n++
		if r != fixed {
			require.Same(t, known[k], r)
		}
	}
	require.Equal(t, len(known)+1, n)
}
