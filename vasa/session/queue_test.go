package session

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// ids and values of an answer, as "1a 2b".
func told(list []Numbered[string]) string {
	s := ""
	for _, n := range list {
		s += fmt.Sprintf("%d%s ", n.ID, n.Value)
	}
	return s
}

func TestQueue(t *testing.T) {
	for _, origin := range []int64{1, 0} {
		q := newQueue[string](origin, ErrLostEvent)
		after := func(last int64, want string) {
			t.Helper()
			list, err := q.After(last, nil)
			require.NoError(t, err)
			require.Equal(t, want, told(list))
		}
		refused := func(last int64, want error) {
			t.Helper()
			_, err := q.After(last, nil)
			require.ErrorIs(t, err, want)
		}
		refused(-2, ErrInvalidID)
		refused(17, ErrLostEvent) // of an earlier life of the provider
		q.Put("", "a")
		q.Put("k", "b")
		q.Put("k", "c") // says it all
		after(StartOver, fmt.Sprintf("%da %dc ", origin, origin+1))
		q.Put("k", "d") // c was told already
		refused(origin+2, ErrInvalidID)
		refused(origin, ErrLostEvent)
		after(StartOver, fmt.Sprintf("%da %dc %dd ", origin, origin+1, origin+2))
		after(origin+2, "")
		after(origin+2, "")
		q.Put("", "e")
		after(origin+2, fmt.Sprintf("%de ", origin+3))
		after(origin+3, "")
		q.Lost()
		refused(origin+3, ErrLostEvent)
		after(StartOver, "")
		q.Put("", "f")
		after(StartOver, fmt.Sprintf("%df ", origin))
		q.Put("", "g")
		q.Lose()
		q.Put("", "h")
		refused(origin, ErrLostEvent)
		after(StartOver, fmt.Sprintf("%dh ", origin))
		list, err := q.After(StartOver, func() []string { return []string{"x", "y"} })
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("%dx %dy ", origin, origin+1), told(list))
	}
}

func TestQueueOverflow(t *testing.T) {
	q := newQueue[string](1, ErrLostAlarm)
	_, err := q.After(StartOver, nil)
	require.NoError(t, err)
	for i := range MaxQueued + 1 {
		q.Put("", fmt.Sprint(" ", i))
	}
	_, err = q.After(0, nil)
	require.ErrorIs(t, err, ErrLostAlarm)
	list, err := q.After(StartOver, nil)
	require.NoError(t, err)
	require.Len(t, list, MaxAnswer)
	require.Equal(t, " 1", list[0].Value, "the oldest went")
}

// TestQueueTellsAll: a client that always continues from the last id it got, and starts
// over when told to, gets everything in order.
func TestQueueTellsAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newQueue[int](rapid.Int64Range(0, 1).Draw(t, "origin"), ErrLostEvent)
		put, got, last := 0, 0, int64(StartOver)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(*rapid.T) { q.Put("", put); put++ },
			"ask": func(t *rapid.T) {
				list, err := q.After(last, nil)
				if err != nil {
					t.Fatal(err)
				}
				for i, n := range list {
					if n.Value != got+i {
						t.Fatalf("%d after %d", n.Value, got+i-1)
					}
					if i > 0 && n.ID != list[i-1].ID+1 {
						t.Fatalf("id %d after %d", n.ID, list[i-1].ID)
					}
				}
				if len(list) == 0 {
					return
				}
				if rapid.Bool().Draw(t, "answer lost") {
					last = StartOver
					return
				}
				got, last = got+len(list), list[len(list)-1].ID
			},
		})
	})
}
