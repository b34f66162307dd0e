package vvol

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"vvsim/vvol/kept"
)

// TaskWatch names the task of one operation and tells its id; see WatchTask.
type TaskWatch struct {
	name    string
	id      atomic.Pointer[string]
	started chan struct{}
}

// WatchTask returns a context for one operation, whose task gets that name (VASA's
// clients see it) and is told to the watch.
func WatchTask(ctx context.Context, name string) (context.Context, *TaskWatch) {
	w := &TaskWatch{name: name, started: make(chan struct{})}
	return context.WithValue(ctx, watchKey{}, w), w
}

type watchKey struct{}

// ID is the id of the operation's task; "" before it has one, and when the operation
// was refused before, or had nothing to do. Safe beside the operation.
func (w *TaskWatch) ID() string {
	if id := w.id.Load(); id != nil {
		return *id
	}
	return ""
}

// Started is closed when the task of a CopyDiffs can be asked for by its id; other
// operations are over too soon.
func (w *TaskWatch) Started() <-chan struct{} { return w.started }

// announce tells the watch, if any, that the operation's task can be asked for.
func announce(ctx context.Context) {
	if w, ok := ctx.Value(watchKey{}).(*TaskWatch); ok {
		close(w.started)
	}
}

// newTask makes the row of an operation that begins; it is written with the
// operation's first step.
func (s *Service) newTask(ctx context.Context, operation string, id ID) *taskRow {
	watch, watched := ctx.Value(watchKey{}).(*TaskWatch)
	if watched {
		operation = watch.name
	}
	s.catalog.mu.Lock()
	defer s.catalog.mu.Unlock()
	s.catalog.counters.Task++
	n := s.catalog.counters.Task
	t := &taskRow{Number: n, Task: Task{ID: operation + ":" + strconv.FormatUint(n, 10), Name: operation, VVol: id,
		State: TaskRunning, Started: s.now()}}
	if watched {
		watch.id.Store(&t.ID)
	}
	return t
}

// NoteTask keeps a task that has succeeded already: of an operation that had nothing to
// do, for a caller that owes its client a task. A zero id stands for the array. Errors:
// ErrNotFound (volume).
func (s *Service) NoteTask(ctx context.Context, name string, id ID, result string) (Task, error) {
	end, err := s.begin(ctx)
	if err != nil {
		return Task{}, err
	}
	defer end()
	if id != (ID{}) {
		if _, err := s.VVol(id); err != nil {
			return Task{}, err
		}
	}
	ctx, _ = WatchTask(ctx, name)
	t := s.succeeded(s.newTask(ctx, name, id), result)
	return t.Task, s.commit(ctx, new(batch).put(t))
}

// taskNumber is the number in a task's id; 0 when there is none.
func taskNumber(id string) uint64 {
	_, number, _ := strings.Cut(id, ":")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// succeeded is the task's row after its end.
func (s *Service) succeeded(t *taskRow, result string) *taskRow {
	done := *t
	done.State, done.Progress, done.Result, done.Ended = TaskSuccess, 100, result, s.now()
	return &done
}

// endTask adds the end of a task to b; cause is nil for success. A task that is
// unknown or ended already stays as it is.
func (s *Service) endTask(b *batch, number uint64, result string, cause error) {
	s.catalog.mu.RLock()
	t := s.catalog.tasks.Get(number)
	s.catalog.mu.RUnlock()
	if t == nil || t.finished() {
		return
	}
	done := s.succeeded(t, result)
	if cause != nil {
		done.State, done.Progress, done.Error, done.Cause = TaskError, t.Progress, cause.Error(), causeOf(cause)
		done.Cancelled = errors.Is(cause, context.Canceled)
	}
	b.put(done)
}

// causeOf is the text of the sentinel in err; that of ErrStorage when there is none.
func causeOf(err error) string {
	for _, sentinel := range Errors() {
		if errors.Is(err, sentinel) {
			return sentinel.Error()
		}
	}
	return ErrStorage.Error()
}

// progress notes how far a task is, in memory only.
func (s *Service) progress(number, done, total uint64) {
	s.catalog.mu.Lock()
	defer s.catalog.mu.Unlock()
	t := s.catalog.tasks.Get(number)
	if t == nil || total == 0 {
		return
	}
	next := *t
	next.Progress = int(float64(done) / float64(total) * 99) // 100 is for the end
	s.catalog.tasks.Put(number, &next)
}

// taskLimits are the limits of finished tasks.
func (s *Service) taskLimits() kept.Limits {
	return kept.Limits{Least: min(tasksLeast, s.options.TasksKept), Most: s.options.TasksKept, For: s.options.TaskTime, AtOnce: tasksAtOnce}
}

// Tasks lists the tasks that are kept, oldest first: all that have not ended, and of the
// others those that Options.TaskTime and TasksKept leave.
func (s *Service) Tasks() []Task {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	rows := s.catalog.tasks.From(0, s.catalog.tasks.Len())
	list := make([]Task, len(rows))
	for i, r := range rows {
		list[i] = r.Task
	}
	return list
}

// CurrentTasks lists the tasks that have not ended, oldest first.
func (s *Service) CurrentTasks() (list []Task) {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	for _, n := range slices.Sorted(maps.Keys(s.catalog.unfinished)) {
		list = append(list, s.catalog.tasks.Get(n).Task)
	}
	return list
}

// Task returns a task by id. Errors: ErrNotFound.
func (s *Service) Task(id string) (Task, error) {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	if t := s.catalog.tasks.Get(taskNumber(id)); t != nil && t.ID == id {
		return t.Task, nil
	}
	return Task{}, fmt.Errorf("%w: task %q", ErrNotFound, id)
}

// past is the verb of the event that an operation ends with.
func past(operation string) string {
	switch operation {
	case "create":
		return "created"
	case "snapshot":
		return "snapshotted"
	}
	return "cloned"
}
