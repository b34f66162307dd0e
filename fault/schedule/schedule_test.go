package schedule

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAt(t *testing.T) {
	type when struct {
		since time.Duration
		phase Phase
		next  time.Duration
	}
	for times, all := range map[Times][]when{
		{}:                  {{0, Active, 0}, {time.Hour, Active, 0}},
		{From: time.Second}: {{0, Waiting, time.Second}, {time.Second - 1, Waiting, 1}, {time.Second, Active, 0}},
		{For: time.Second}:  {{0, Active, time.Second}, {time.Second - 1, Active, 1}, {time.Second, Over, 0}},
		{From: 5 * time.Second, For: 2 * time.Second, Each: 10 * time.Second}: {{0, Waiting, 5 * time.Second}, {5 * time.Second, Active, 2 * time.Second},
			{7 * time.Second, Resting, 8 * time.Second}, {15 * time.Second, Active, 2 * time.Second}, {96 * time.Second, Active, time.Second}, {97 * time.Second, Resting, 8 * time.Second}},
	} {
		for _, w := range all {
			phase, next := times.At(w.since)
			require.Equal(t, w, when{w.since, phase, next}, "%+v", times)
		}
	}
}

func TestCheck(t *testing.T) {
	for times, want := range map[Times]string{
		{}:                        "",
		{From: 1, For: 1}:         "",
		{Each: time.Minute}:       "each= needs for=",
		{Each: 20e6, For: 10e6}:   "",
		{Each: 20e6, For: 20e6}:   "is no part of",
		{Each: 20e6, For: 11e6}:   "at least 10ms each",
		{Each: time.Hour, For: 1}: "at least 10ms each",
	} {
		err := times.Check()
		if want == "" {
			require.NoError(t, err, "%+v", times)
		} else {
			require.ErrorContains(t, err, want, "%+v", times)
		}
	}
}
