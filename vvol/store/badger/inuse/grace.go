package inuse

import "sync"

// Grace lets one wait for all who have begun something: who begins later neither waits nor is
// waited for. The zero value is ready. Safe for concurrent use.
type Grace struct {
	waits sync.Mutex // held while one waits

	mu  sync.Mutex
	now *sync.WaitGroup
}

// Begin begins something; end ends it.
func (g *Grace) Begin() (end func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now == nil {
		g.now = new(sync.WaitGroup)
	}
	g.now.Add(1)
	return g.now.Done
}

// Wait returns when what had begun has ended.
func (g *Grace) Wait() {
	g.waits.Lock()
	defer g.waits.Unlock()
	g.mu.Lock()
	before := g.now
	g.now = nil
	g.mu.Unlock()
	if before != nil {
		before.Wait()
	}
}
