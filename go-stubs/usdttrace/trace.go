// Package usdttrace has the annotations of runtime/trace with a static probe (USDT) behind each: what programs write
// for execution traces, tracers see at any time.
//
// Every function does what its namesake in runtime/trace does, too. While nobody traces, each costs a load and a test more than it, and
// no allocation.
package usdttrace

import (
	"context"
	"fmt"
	"runtime/trace"
	"sync/atomic"
	"time"

	"usdt.local/go-stubs/usdttrace/internal/probes"
)

// tasks numbers what is traced.
var tasks atomic.Uint64

// key is where a context has the number of its task.
type key struct{}

// seen is what is known of a task or region that began while somebody looked.
type seen struct {
	kind string
	// Of the task itself, or of the one that a region is part of.
	task uint64
	at   time.Time
}

// arguments are those of the end. One that began while nobody looked has none.
func (s *seen) arguments() (kind string, task uint64, ns int64) {
	if s == nil {
		return "", 0, 0
	}
	return s.kind, s.task, int64(time.Since(s.at))
}

func task(ctx context.Context) uint64 {
	id, _ := ctx.Value(key{}).(uint64)
	return id
}

// Task is a task of runtime/trace.
type Task struct {
	task *trace.Task
	seen *seen
}

// NewTask begins a task, which the context that it returns belongs to.
func NewTask(ctx context.Context, taskType string) (context.Context, Task) {
	inner, own := trace.NewTask(ctx, taskType)
	if probes.TaskBeginEnabled() || probes.TaskEndEnabled() {
		return begin(ctx, inner, own, taskType)
	}
	return inner, Task{own, nil}
}

func begin(outer, inner context.Context, own *trace.Task, kind string) (context.Context, Task) {
	s := &seen{kind, tasks.Add(1), time.Now()}
	probes.TaskBegin(s.task, task(outer), kind)
	return context.WithValue(inner, key{}, s.task), Task{own, s}
}

// End ends the task.
func (t Task) End() {
	if probes.TaskEndEnabled() {
		kind, id, ns := t.seen.arguments()
		probes.TaskEnd(id, kind, ns)
	}
	if t.task != nil {
		t.task.End()
	}
}

// Region is a region of runtime/trace.
type Region struct {
	region *trace.Region
	seen   *seen
}

// StartRegion begins a region, which ends in the same goroutine.
func StartRegion(ctx context.Context, regionType string) Region {
	if probes.RegionBeginEnabled() || probes.RegionEndEnabled() {
		return startRegion(ctx, regionType)
	}
	return Region{trace.StartRegion(ctx, regionType), nil}
}

func startRegion(ctx context.Context, kind string) Region {
	region := trace.StartRegion(ctx, kind)
	s := &seen{kind, task(ctx), time.Now()}
	probes.RegionBegin(s.task, kind)
	return Region{region, s}
}

// End ends the region.
func (r Region) End() {
	if probes.RegionEndEnabled() {
		kind, task, ns := r.seen.arguments()
		probes.RegionEnd(task, kind, ns)
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
		probes.Log(task(ctx), category, message)
	}
}

// Logf is Log with a format, which is only carried out when somebody looks.
func Logf(ctx context.Context, category, format string, args ...any) {
	if trace.IsEnabled() {
		trace.Logf(ctx, category, format, args...)
	}
	if probes.LogEnabled() {
		probes.Log(task(ctx), category, fmt.Sprintf(format, args...))
	}
}

// IsEnabled reports whether somebody looks: at an execution trace, or by a probe of this package.
func IsEnabled() bool {
	return trace.IsEnabled() || probes.TaskBeginEnabled() || probes.TaskEndEnabled() ||
		probes.RegionBeginEnabled() || probes.RegionEndEnabled() || probes.LogEnabled()
}
