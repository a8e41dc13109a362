// Package usdttrace provides the tasks, regions and log messages of runtime/trace, and fires a
// static probe (USDT) for each of them. Tracers therefore see them at any time, even if the program
// writes no execution trace.
//
// Each function also calls the function of the same name in runtime/trace. While no tracer is
// attached, it costs one or two loads and tests more than that one, and allocates nothing.
package usdttrace

import (
	"context"
	"fmt"
	"runtime/trace"
	"sync/atomic"
	"time"

	"usdt.local/go-stubs/usdttrace/internal/probes"
)

// lastTaskID is the ID of the last traced task.
var lastTaskID atomic.Uint64

// taskIDKey is the key of the task ID in a context.
type taskIDKey struct{}

// traceState is the state of a task or region that started while a tracer was attached.
type traceState struct {
	kind string
	// taskID is the ID of the task, or of the task that the region belongs to.
	taskID uint64
	start  time.Time
}

// endArguments returns the arguments of the probe that fires at the end. They are zero values if s
// is nil.
func (s *traceState) endArguments() (kind string, taskID uint64, duration time.Duration) {
	if s == nil {
		return "", 0, 0
	}
	return s.kind, s.taskID, time.Since(s.start)
}

// taskID returns the ID of the context's task, or 0 if it has none.
func taskID(ctx context.Context) uint64 {
	id, _ := ctx.Value(taskIDKey{}).(uint64)
	return id
}

// Task is a task of runtime/trace. The zero value is valid: its End ends no task.
type Task struct {
	task  *trace.Task
	state *traceState // nil if no tracer was attached when the task started
}

// NewTask starts a task and returns a context that carries it. The task runs until its End is
// called.
func NewTask(ctx context.Context, taskType string) (context.Context, Task) {
	taskCtx, task := trace.NewTask(ctx, taskType)
	if probes.TaskBeginEnabled() || probes.TaskEndEnabled() {
		return startTracedTask(ctx, taskCtx, task, taskType)
	}
	return taskCtx, Task{task, nil}
}

func startTracedTask(parentCtx, taskCtx context.Context, task *trace.Task, kind string) (context.Context, Task) {
	state := &traceState{kind, lastTaskID.Add(1), time.Now()}
	probes.TaskBegin(state.taskID, taskID(parentCtx), kind)
	return context.WithValue(taskCtx, taskIDKey{}, state.taskID), Task{task, state}
}

// End ends the task.
func (t Task) End() {
	if probes.TaskEndEnabled() {
		kind, id, duration := t.state.endArguments()
		probes.TaskEnd(id, kind, duration)
	}
	if t.task != nil {
		t.task.End()
	}
}

// Region is a region of runtime/trace. The zero value is valid: its End ends no region.
type Region struct {
	region *trace.Region
	state  *traceState // nil if no tracer was attached when the region started
}

// StartRegion starts a region. The same goroutine must call its End.
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
		kind, id, duration := r.state.endArguments()
		probes.RegionEnd(id, kind, duration)
	}
	if r.region != nil {
		r.region.End()
	}
}

// WithRegion calls fn in a region.
func WithRegion(ctx context.Context, regionType string, fn func()) {
	defer StartRegion(ctx, regionType).End()
	fn()
}

// Log emits a log message with a category.
func Log(ctx context.Context, category, message string) {
	trace.Log(ctx, category, message)
	if probes.LogEnabled() {
		probes.Log(taskID(ctx), category, message)
	}
}

// Logf emits a formatted log message with a category. It formats the message only while the program
// writes an execution trace or a tracer is attached.
func Logf(ctx context.Context, category, format string, args ...any) {
	if trace.IsEnabled() {
		trace.Logf(ctx, category, format, args...)
	}
	if probes.LogEnabled() {
		probes.Log(taskID(ctx), category, fmt.Sprintf(format, args...))
	}
}

// IsEnabled reports whether the program writes an execution trace, or a tracer is attached to a
// probe of this package.
func IsEnabled() bool {
	return trace.IsEnabled() || probes.TaskBeginEnabled() || probes.TaskEndEnabled() ||
		probes.RegionBeginEnabled() || probes.RegionEndEnabled() || probes.LogEnabled()
}
