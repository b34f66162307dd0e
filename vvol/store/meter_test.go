package store

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMeter adds over two minutes and looks at what is told.
func TestMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Meter
		require.Zero(t, m.Rate())
		m.Add(6000)
		require.EqualValues(t, 100, m.Rate())
		time.Sleep(30 * time.Second)
		m.Add(600)
		m.Add(600)
		require.EqualValues(t, 120, m.Rate())
		time.Sleep(30 * time.Second)
		require.EqualValues(t, 20, m.Rate(), "the first is a minute ago")
		m.Add(60)
		require.EqualValues(t, 21, m.Rate(), "its slot has a new user")
		time.Sleep(59 * time.Second)
		require.EqualValues(t, 1, m.Rate())
		time.Sleep(time.Second)
		require.Zero(t, m.Rate())
		require.EqualValues(t, 7260, m.Load())
	})
}
