package vasa

import (
	"context"
	"sync"
	"time"

	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// Waits for a task that goes on after its answer.
const (
	taskStart = 10 * time.Second       // to begin: a copy waits for the locks of its volumes
	taskGrace = 200 * time.Millisecond // one that ends within this is told as ended
)

// taskOperations are the operations of vasa.md 2.8.
func (p *Provider) taskOperations() map[string]handler {
	return map[string]handler{
		"getTaskUpdate":  answers(p.getTaskUpdate),
		"getCurrentTask": answers(p.getCurrentTask),
		"cancelTask":     obeys(p.cancelTask),
	}
}

// watched runs an operation that is over when it returns, and tells its task. id is the
// volume that a task is noted for if the operation had nothing to do.
func (p *Provider) watched(ctx context.Context, name string, id vvol.ID, do func(context.Context) error) (wire.TaskInfo, error) {
	inner, w := vvol.WatchTask(ctx, name)
	if err := do(inner); err != nil {
		return wire.TaskInfo{}, err
	}
	if w.ID() == "" {
		return p.noted(ctx, name, id)
	}
	t, err := p.o.Service.Task(w.ID())
	if err != nil {
		return wire.TaskInfo{}, err
	}
	return p.firstTold(ctx, t), nil
}

// noted is the task of an operation that had nothing to do.
func (p *Provider) noted(ctx context.Context, name string, id vvol.ID) (wire.TaskInfo, error) {
	t, err := p.o.Service.NoteTask(ctx, name, id, "")
	if err != nil {
		return wire.TaskInfo{}, err
	}
	return p.firstTold(ctx, t), nil
}

// firstTold is a task as the answer of its operation tells it.
func (p *Provider) firstTold(ctx context.Context, t vvol.Task) wire.TaskInfo {
	info := p.taskInfo(ctx, t)
	if p.o.Knobs().TasksRunFirst && info.TaskState != wire.TaskStateRunning {
		info.TaskState, info.Progress, info.Result, info.Error = wire.TaskStateRunning, 0, nil, nil
	}
	return info
}

// goesOn starts an operation that may last, and returns when its task is known, or a
// little later, so that a short one is told as ended.
func (p *Provider) goesOn(ctx context.Context, name string, do func(context.Context) error) (wire.TaskInfo, error) {
	inner, cancel := context.WithCancel(p.tasks.ctx)
	inner, w := vvol.WatchTask(inner, name)
	ended, err := p.tasks.start(w, cancel, func() error { return do(inner) })
	if err != nil {
		cancel()
		return wire.TaskInfo{}, err
	}
	limit := time.NewTimer(taskStart)
	defer limit.Stop()
	select {
	case end := <-ended:
		if w.ID() == "" { // refused
			return wire.TaskInfo{}, end.err
		}
	case <-w.Started():
		select {
		case <-ended:
		case <-time.After(taskGrace):
		}
	case <-limit.C:
		cancel()
		return wire.TaskInfo{}, refuse(&wire.VasaProviderBusy{}, "the volumes are busy")
	case <-ctx.Done():
		cancel()
		return wire.TaskInfo{}, ctx.Err()
	}
	t, err := p.o.Service.Task(w.ID())
	if err != nil {
		return wire.TaskInfo{}, err
	}
	return p.firstTold(ctx, t), nil
}

// outcome of an operation; beside its task it tells of one that was refused.
type outcome struct{ err error }

// tasks are the operations that go on after their answer.
type tasks struct {
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
	slots  chan struct{}

	mu     sync.Mutex
	closed bool
	stops  map[*vvol.TaskWatch]context.CancelFunc
}

func (t *tasks) init(n int) {
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.slots, t.stops = make(chan struct{}, n), map[*vvol.TaskWatch]context.CancelFunc{}
}

// start runs do, whose outcome the channel tells; cancel ends it.
func (t *tasks) start(w *vvol.TaskWatch, cancel context.CancelFunc, do func() error) (<-chan outcome, error) {
	select {
	case t.slots <- struct{}{}:
	default:
		return nil, refuse(&wire.VasaProviderBusy{}, "%d copies run already", cap(t.slots))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		<-t.slots
		return nil, refuse(&wire.VasaProviderBusy{}, "the provider stops")
	}
	t.stops[w] = cancel
	ended := make(chan outcome, 1)
	t.group.Go(func() {
		defer func() { <-t.slots }()
		err := do()
		t.mu.Lock()
		delete(t.stops, w)
		t.mu.Unlock()
		cancel()
		ended <- outcome{err}
	})
	return ended, nil
}

// stop cancels the operation with a task; false when none runs.
func (t *tasks) stop(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for w, cancel := range t.stops {
		if w.ID() == id {
			cancel()
			return true
		}
	}
	return false
}

// runs tells whether the operation with a task runs, and can be stopped.
func (t *tasks) runs(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.stops {
		if w.ID() == id {
			return true
		}
	}
	return false
}

func (t *tasks) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	t.group.Wait()
}

func (p *Provider) getTaskUpdate(ctx context.Context, _ *caller, q *wire.GetTaskUpdate) (*wire.GetTaskUpdateResponse, error) {
	if q.TaskID == "" {
		return nil, invalid("taskId is empty")
	}
	t, err := p.o.Service.Task(q.TaskID)
	if err != nil {
		return nil, err
	}
	return &wire.GetTaskUpdateResponse{Return: p.taskInfo(ctx, t)}, nil
}

func (p *Provider) getCurrentTask(ctx context.Context, _ *caller, q *wire.GetCurrentTask) (*wire.GetCurrentTaskResponse, error) {
	if q.ArrayID != nil {
		if err := p.checkArray(*q.ArrayID); err != nil {
			return nil, err
		}
	}
	r := &wire.GetCurrentTaskResponse{}
	for _, t := range p.o.Service.CurrentTasks() {
		r.Return = append(r.Return, p.taskInfo(ctx, t))
	}
	return r, nil
}

func (p *Provider) cancelTask(_ context.Context, _ *caller, q *wire.CancelTask) error {
	if q.TaskID == "" {
		return invalid("taskId is empty")
	}
	t, err := p.o.Service.Task(q.TaskID)
	if err != nil {
		return err
	}
	if !p.tasks.stop(t.ID) {
		return refuse(&wire.NotCancellable{}, "task %s is %s and cannot be cancelled", t.ID, t.State)
	}
	return nil
}

// taskInfo is a task as it travels (vasa.md 7.5).
func (p *Provider) taskInfo(ctx context.Context, t vvol.Task) wire.TaskInfo {
	running := p.tasks.runs(t.ID)
	i := wire.TaskInfo{ArrayID: new(p.arrayID()), Cancelable: running, Cancelled: t.Cancelled, Name: t.Name, Progress: int32(t.Progress),
		ProgressUpdateAvailable: running, StartTime: t.Started.UTC(), TaskID: t.ID, TaskState: wire.TaskState(t.State)}
	switch {
	case t.State == vvol.TaskError:
		i.Error = faultOf(causeOf(t))
	case t.State != vvol.TaskSuccess || t.Result == "":
	case t.Name == "prepareToSnapshotVirtualVolume":
		// The parent is told as it is now; when it is gone, so is what could be told.
		if r, err := p.prepared(ctx, t.Result); err == nil {
			i.Result = r
		}
	case resultIsVolume[t.Name]:
		i.Result = t.Result
	}
	return i
}

// resultIsVolume are the operations whose task has a new volume as its result.
var resultIsVolume = map[string]bool{"createVirtualVolume": true, "cloneVirtualVolume": true, "fastCloneVirtualVolume": true}

// causeOf is an error with the sentinel that a task ended with.
func causeOf(t vvol.Task) error {
	for _, sentinel := range vvol.Errors() {
		if sentinel.Error() == t.Cause {
			return sentinel
		}
	}
	return vvol.ErrStorage
}
