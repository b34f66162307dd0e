package turn

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Those who waited go on in the order in which they came; who has left, or is done, is not
// waited for.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Line
		var mu sync.Mutex
		var went []int
		var wait sync.WaitGroup
		event, done := make(chan struct{}), make(chan struct{})
		close(done)
		for i := range 50 {
			p := l.Enter()
			switch {
			case i%7 == 3:
				p.Leave()
				continue
			case i == 20:
				began := time.Now()
				p.Await(done)
				require.Equal(t, began, time.Now())
				p.Leave()
				continue
			}
			wait.Go(func() {
				<-event
				p.Await(nil)
				mu.Lock()
				went = append(went, i)
				mu.Unlock()
				p.Leave()
			})
		}
		synctest.Wait()
		began := time.Now()
		close(event)
		wait.Wait()
		require.IsIncreasing(t, went)
		require.Len(t, went, 42)
		require.Equal(t, 42*Apart, time.Since(began))
		require.Empty(t, l.places)
	})
}
