package clock

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestScaled shows a clock that goes a hundred times as fast as the wall, and one that
// changes its pace.
func TestScaled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, began := New(100), time.Now()
		require.NoError(t, c.Sleep(t.Context(), 200*time.Second))
		require.Equal(t, 2*time.Second, time.Since(began))
		require.Equal(t, 200*time.Second, c.Now().Sub(began.Round(0)))
		require.InDelta(t, 100, c.Rate(), 0)

		done := make(chan struct{})
		c.AfterFunc(100*time.Second, func() { close(done) }) // one second
		time.Sleep(500 * time.Millisecond)
		c.SetRate(10)
		<-done
		require.Equal(t, 2*time.Second+500*time.Millisecond+5*time.Second, time.Since(began))
	})
}

// TestFrozen shows a clock that stands still, is stepped, and goes on.
func TestFrozen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(0)
		began := c.Now()
		var rang []time.Duration
		note := func() { rang = append(rang, c.Now().Sub(began)) }
		c.AfterFunc(3*time.Second, note)
		c.AfterFunc(time.Second, func() {
			note()
			c.AfterFunc(time.Second, note) // on the way of the step
		})
		stopped := c.AfterFunc(2*time.Second, note)
		time.Sleep(time.Hour)
		require.Equal(t, began, c.Now())
		require.True(t, stopped.Stop())
		require.False(t, stopped.Stop())
		c.Step(5 * time.Second)
		require.Equal(t, []time.Duration{time.Second, 2 * time.Second, 3 * time.Second}, rang)
		require.Equal(t, 5*time.Second, c.Now().Sub(began))

		late := c.AfterFunc(time.Second, note)
		c.SetRate(1)
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, 6*time.Second, rang[3])
		require.False(t, late.Stop())
		c.SetRate(0)
		require.Equal(t, 6500*time.Millisecond, c.Now().Sub(began))
	})
}

// TestTogether shows that what is due together is called in the order in which it was asked for.
func TestTogether(t *testing.T) {
	c := New(0)
	var rang []int
	for i := range 20 {
		c.AfterFunc(time.Second, func() { rang = append(rang, i) })
	}
	c.Step(time.Second)
	for i := range 20 {
		require.Equal(t, i, rang[i])
	}
}

// TestTimeout shows contexts that end by the clock, or before.
func TestTimeout(t *testing.T) {
	c, late := New(0), errors.New("late")
	ctx, cancel := c.WithTimeout(t.Context(), time.Second, late)
	defer cancel()
	c.Step(999 * time.Millisecond)
	require.NoError(t, ctx.Err())
	c.Step(time.Millisecond)
	require.ErrorIs(t, context.Cause(ctx), late)

	ctx, cancel = c.WithTimeout(t.Context(), time.Second, late)
	cancel()
	require.ErrorIs(t, context.Cause(ctx), context.Canceled)
	require.Empty(t, c.timers, "no timer is left")
	require.ErrorIs(t, c.Sleep(ctx, time.Second), context.Canceled)
	require.Empty(t, c.timers)
}
