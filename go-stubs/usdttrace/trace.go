// Package usdttrace has the annotations of runtime/trace, each with a static probe (USDT): tracers see at any time what
// a program writes for execution traces.
//
// Every function also does what its namesake in runtime/trace does. While no tracer is attached, it costs one or two loads
// and tests more, and no allocation.
package usdttrace

import (
	"context"
	"fmt"
	"runtime/trace"
	"sync/atomic"
	"time"

	"usdt.local/go-stubs/usdttrace/internal/probes"
)

// lastTaskID is the id of the last traced task.
var lastTaskID atomic.Uint64

// taskIDKey is the key of a context's task id.
type taskIDKey struct{}

// traceState is the state of a task or region that began while a tracer was attached.
type traceState struct {
	kind string
	// taskID is the id of the task itself, or of the task that a region belongs to.
	taskID uint64
	start  time.Time
}

// endArguments returns the arguments of the probe at the end, zero values if no tracer was attached at the beginning.
func (s *traceState) endArguments() (kind string, taskID uint64, ns int64) {
	if s == nil {
		return "", 0, 0
	}
	return s.kind, s.taskID, int64(time.Since(s.start))
}

// taskID returns the id of the context's task, 0 if it has none.
func taskID(ctx context.Context) uint64 {
	id, _ := ctx.Value(taskIDKey{}).(uint64)
	return id
}

// Task is a task of runtime/trace.
type Task struct {
	task  *trace.Task
	state *traceState // nil if no tracer was attached when the task began
}

// NewTask begins a task and returns a context that carries it.
func NewTask(ctx context.Context, taskType string) (context.Context, Task) {
	taskCtx, task := trace.NewTask(ctx, taskType)
	if probes.TaskBeginEnabled() || probes.TaskEndEnabled() {
		return beginTraced(ctx, taskCtx, task, taskType)
	}
	return taskCtx, Task{task, nil}
}

func beginTraced(parentCtx, taskCtx context.Context, task *trace.Task, kind string) (context.Context, Task) {
	state := &traceState{kind, lastTaskID.Add(1), time.Now()}
	probes.TaskBegin(state.taskID, taskID(parentCtx), kind)
	return context.WithValue(taskCtx, taskIDKey{}, state.taskID), Task{task, state}
}

// End ends the task.
func (t Task) End() {
	if probes.TaskEndEnabled() {
		kind, id, ns := t.state.endArguments()
		probes.TaskEnd(id, kind, ns)
	}
	if t.task != nil {
		t.task.End()
	}
}

// Region is a region of runtime/trace.
type Region struct {
	region *trace.Region
	state  *traceState // nil if no tracer was attached when the region began
}

// StartRegion begins a region, which has to end in the same goroutine.
func StartRegion(ctx context.Context, regionType string) Region {
	if probes.RegionBeginEnabled() || probes.RegionEndEnabled() {
		return startTracedRegion(ctx, regionType)
	}
	return Region{trace.StartRegion(ctx, regionType), nil}
}

func startTracedRegion(ctx context.Context, kind string) Region {
	region := trace.StartRegion(ctx, kind)
	state := &traceState{kind, taskID(ctx), time.Now()}
	probes.RegionBegin(state.taskID, kind)
	return Region{region, state}
}

// End ends the region.
func (r Region) End() {
	if probes.RegionEndEnabled() {
		kind, id, ns := r.state.endArguments()
		probes.RegionEnd(id, kind, ns)
	}
	if r.region != nil {
		r.region.End()
	}
}

// WithRegion calls function in a region.
func WithRegion(ctx context.Context, regionType string, function func()) {
	defer StartRegion(ctx, regionType).End()
	function()
}

// Log emits a message of a category.
func Log(ctx context.Context, category, message string) {
	trace.Log(ctx, category, message)
	if probes.LogEnabled() {
		probes.Log(taskID(ctx), category, message)
	}
}

// Logf is Log with a format. It formats only while an execution trace is written or a tracer is attached.
func Logf(ctx context.Context, category, format string, args ...any) {
	if trace.IsEnabled() {
		trace.Logf(ctx, category, format, args...)
	}
	if probes.LogEnabled() {
		probes.Log(taskID(ctx), category, fmt.Sprintf(format, args...))
	}
}

// IsEnabled reports whether an execution trace is written, or a tracer is attached to a probe of this package.
func IsEnabled() bool {
	return trace.IsEnabled() || probes.TaskBeginEnabled() || probes.TaskEndEnabled() ||
		probes.RegionBeginEnabled() || probes.RegionEndEnabled() || probes.LogEnabled()
}
