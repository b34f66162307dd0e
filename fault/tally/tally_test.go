package tally

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// TestCount has two wait until both of two have ended.
func TestCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Count
		c.Await() // nothing runs
		c.Begin()
		c.Begin()
		done := make(chan bool, 2)
		for range 2 {
			go func() {
				c.Await()
				done <- true
			}()
		}
		synctest.Wait()
		c.End()
		synctest.Wait()
		require.Empty(t, done)
		c.End()
		synctest.Wait()
		require.Len(t, done, 2)
		c.Await()
	})
}
