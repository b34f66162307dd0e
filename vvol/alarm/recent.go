package alarm

import (
	"sync"
	"time"
)

// Recent remembers what was reported of late. The zero value remembers nothing. Safe for
// concurrent use.
type Recent struct {
	mu   sync.Mutex
	told map[string]time.Time
}

// Fresh tells whether something is to be reported now: it was not within the time quiet. Most
// are remembered; then all are forgotten.
func (r *Recent) Fresh(text string, now time.Time, quiet time.Duration, most int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.told[text]; ok && now.Sub(at) < quiet {
		return false
	}
	if r.told == nil || len(r.told) >= most {
		r.told = map[string]time.Time{}
	}
	r.told[text] = now
	return true
}
