package tally

import "sync"

// Count is how many of something run. The zero value is ready. Safe for concurrent use;
// what runs may begin more.
type Count struct {
	mu    sync.Mutex
	n     int
	ended chan struct{} // closed when none runs; nil: nobody waits
}

// Begin counts one more, and End one less.
func (c *Count) Begin() {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
}

// End is called once for each Begin.
func (c *Count) End() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n--; c.n == 0 && c.ended != nil {
		close(c.ended)
		c.ended = nil
	}
}

// Await returns when none has run for a moment.
func (c *Count) Await() {
	c.mu.Lock()
	if c.n == 0 {
		c.mu.Unlock()
		return
	}
	if c.ended == nil {
		c.ended = make(chan struct{})
	}
	ended := c.ended
	c.mu.Unlock()
	<-ended
}
