package wire

import "time"

// TaskInfo is vvol:TaskInfo: a task: an operation that may go on after its answer. Error and
// Result are of xs:anyType; the first is a Fault, the second a string or a
// *PrepareSnapshotResult.
type TaskInfo struct {
	ArrayID                 *string    `vasa:"arrayId,?~"`
	Cancelable              bool       `vasa:"cancelable,1"`
	Cancelled               bool       `vasa:"cancelled,1"`
	Error                   any        `vasa:"error,?~"`
	EstimatedTimeToComplete *time.Time `vasa:"estimatedTimeToComplete,?~"` // when to ask again
	Name                    string     `vasa:"name,1"`
	Progress                int32      `vasa:"progress,1"` // percent
	ProgressUpdateAvailable bool       `vasa:"progressUpdateAvailable,1"`
	Result                  any        `vasa:"result,?~"`
	StartTime               time.Time  `vasa:"startTime,1"`
	TaskID                  string     `vasa:"taskId,1"`
	TaskState               TaskState  `vasa:"taskState,1"`
}

// GetTaskUpdate is the request getTaskUpdate: asks how a task goes.
type GetTaskUpdate struct {
	TaskID string `vasa:"taskId,1"`
}

// GetTaskUpdateResponse is its response.
type GetTaskUpdateResponse struct {
	Return TaskInfo `vasa:"return,1"`
}

// GetCurrentTask is the request getCurrentTask: asks for the tasks that run.
type GetCurrentTask struct {
	ArrayID *string `vasa:"arrayId,?~"`
}

// GetCurrentTaskResponse is its response.
type GetCurrentTaskResponse struct {
	Return []TaskInfo `vasa:"return,*"`
}

// CancelTask is the request cancelTask: cancels a task.
type CancelTask struct {
	TaskID string `vasa:"taskId,1"`
}

// TaskState is vvol:TaskStateEnum.
type TaskState string

// Values of TaskState.
const (
	TaskStateError   TaskState = "Error"
	TaskStateQueued  TaskState = "Queued"
	TaskStateRunning TaskState = "Running"
	TaskStateSuccess TaskState = "Success"
)

// Values lists all of them.
func (TaskState) Values() []TaskState {
	return []TaskState{TaskStateError, TaskStateQueued, TaskStateRunning, TaskStateSuccess}
}
