package pe

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/vvol"
)

// TestExecuteAll leads tasks of several volumes, and of none, to where they belong, counts
// them, and lets no route keep any.
func TestExecuteAll(t *testing.T) {
	r := newRig(t, time.Minute)
	a, b := r.create("a"), r.create("b")
	la, lb := r.bind(a, "h1"), r.bind(b, "h1")
	s := r.login("h1", 1)
	defer s.logout()
	s.settle(la, lb)
	absent := scsi.SubsidiaryLUN(peAddress, 99)
	var tasks []*scsi.Task
	for i, l := range []scsi.LUN{la, la, lb, absent, absent, peAddress, lb, la} {
		task := s.task(l, []byte{0x2a, 0, 0, 0, 0, byte(8 * i), 0, 0, 8, 0})
		task.DataOut = bytes.Repeat([]byte{byte(i + 1)}, 4096)[:r.target.Prepare(task)]
		tasks = append(tasks, task)
	}
	answers := make([]scsi.Response, len(tasks))
	r.target.ExecuteAll(tasks, answers)
	for i, task := range tasks {
		good := task.LUN == la || task.LUN == lb
		require.Equal(t, good, answers[i].Status == scsi.StatusGood, i)
		if good {
			require.Equal(t, byte(i+1), s.run(task.LUN, 0x28, 0, 0, 0, 0, byte(8*i), 0, 0, 1, 0).data[0])
		}
	}
	counted := map[string]uint64{}
	for _, v := range r.target.Stats() {
		for _, o := range v.Ops {
			if o.OpCode == scsi.OpWrite10 {
				counted[v.Name] = o.Count
				require.Equal(t, o.Count*4096, o.BytesOut)
			}
		}
	}
	require.Equal(t, map[string]uint64{"a": 3, "b": 2}, counted)
	write := func(l scsi.LUN) *scsi.Task {
		task := s.task(l, []byte{0x2a, 0, 0, 0, 0, 0, 0, 0, 8, 0})
		task.DataOut = make([]byte, r.target.Prepare(task))
		return task
	}
	limited, tasks := vvol.Quality{MaxIOPS: 10, Durability: vvol.DurabilityFlush}, []*scsi.Task{write(la), write(la), write(la)}
	require.True(t, tasks[0].Joins)
	r.target.unit(a.ID).setQuality(limited)
	begun := time.Now()
	r.target.ExecuteAll(tasks, answers[:3])
	require.GreaterOrEqual(t, time.Since(begun), 50*time.Millisecond, "limits that came between hold")
	late := write(la)
	require.False(t, late.Joins, "waits for its turn by itself")
	r.target.Execute(late)
	r.target.unit(b.ID).setQuality(vvol.Quality{Durability: vvol.DurabilitySync})
	s.run(lb, 0) // takes MODE PARAMETERS CHANGED
	changes, loose := r.engine.changes.Load(), r.engine.loose.Load()
	r.target.ExecuteAll([]*scsi.Task{write(lb), write(lb)}, answers[:2])
	require.Equal(t, scsi.StatusGood, answers[1].Status)
	require.Equal(t, changes+1, r.engine.changes.Load(), "as one")
	require.Equal(t, loose, r.engine.loose.Load(), "on stable storage")
	r.unbind(a, "h1") // waits for what the route carries
	r.unbind(b, "h1")
}
