//go:build go1.25

package usdtflight

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/trace"
	"sync"
	"sync/atomic"
	"time"

	"usdt.local/go-stubs/usdtflight/internal/probes"
)

// Config configures the flight recorder and its snapshots. The zero value is valid.
type Config struct {
	// Dir is the directory of the snapshot files. The default is os.TempDir().
	Dir string
	// MinAge is the minimum age of events that the recorder keeps. The default is that of
	// trace.FlightRecorderConfig.
	MinAge time.Duration
	// MaxBytes limits the recorder's buffer, in bytes. It is a hint to the runtime, which also
	// chooses the default.
	MaxBytes uint64
	// PollInterval is the interval at which Run checks whether a tracer is attached. The default is
	// 100 milliseconds.
	PollInterval time.Duration
}

// ErrRunning is the error of Run if another call of Run has not returned: a program has one flight
// recorder.
var ErrRunning = errors.New("usdtflight: already running")

var (
	running atomic.Bool
	armed   atomic.Bool
	// pending holds the reason of a requested snapshot until it is written.
	pending = make(chan string, 1)
)

// Snapshot requests a snapshot and does not wait until it is written. It reports whether the
// request was accepted: it returns false if the recorder is not running, or if another request is
// already waiting. The probe flight:snapshot has the reason, and the file or the error.
func Snapshot(reason string) bool {
	if !armed.Load() {
		return false
	}
	select {
	case pending <- reason:
		return true
	default:
		return false
	}
}

// Armed reports whether the recorder is running.
func Armed() bool { return armed.Load() }

// Run starts the recorder when a tracer attaches and stops it when the last tracer detaches, until
// ctx is done. It returns the error of ctx, or ErrRunning.
func Run(ctx context.Context, config Config) error {
	if !running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer running.Store(false)
	if config.Dir == "" {
		config.Dir = os.TempDir()
	}
	if config.PollInterval <= 0 {
		config.PollInterval = 100 * time.Millisecond
	}
	r := recorder{config: config}
	defer r.disarm()
	ticker := time.NewTicker(config.PollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case reason := <-pending:
			r.write(reason)
		case <-ticker.C:
			r.poll()
		}
	}
}

// recorder is the state of Run.
type recorder struct {
	config Config
	// flight is nil unless the recorder is running.
	flight *trace.FlightRecorder
	// requested is true if a tracer is attached to flight:request and its snapshot has been
	// written.
	requested bool
	// snapshots is the number of snapshots so far, which makes file names unique.
	snapshots int
	// reportStartError limits reports to the first failure to start until the tracers detach.
	reportStartError sync.Once
}

// poll starts or stops the recorder, depending on the attached tracers.
func (r *recorder) poll() {
	request := probes.RequestEnabled()
	if !request && !probes.ArmedEnabled() && !probes.SnapshotEnabled() {
		r.disarm()
		r.requested = false
		return
	}
	if r.flight == nil {
		r.arm()
	}
	if request && !r.requested && r.flight != nil {
		r.write("requested")
	}
	r.requested = request
}

func (r *recorder) arm() {
	flight := trace.NewFlightRecorder(trace.FlightRecorderConfig{MinAge: r.config.MinAge, MaxBytes: r.config.MaxBytes})
	if err := flight.Start(); err != nil {
		// The program already runs a flight recorder of its own.
		r.reportStartError.Do(func() { probes.Snapshot("", "", 0, 0, err) })
		return
	}
	r.flight = flight
	armed.Store(true)
	probes.Armed(r.config.MinAge, r.config.MaxBytes)
}

func (r *recorder) disarm() {
	if r.flight == nil {
		return
	}
	armed.Store(false)
	r.flight.Stop()
	r.flight = nil
	r.reportStartError = sync.Once{}
	select {
	case <-pending:
	default:
	}
}

// write writes a snapshot and fires flight:snapshot with the outcome.
func (r *recorder) write(reason string) {
	if r.flight == nil {
		return
	}
	start := time.Now()
	path, bytes, err := r.writeFile(start)
	probes.Snapshot(path, reason, uint64(bytes), time.Since(start), err)
}

// writeFile writes a snapshot to a new file. It removes the file if writing fails.
func (r *recorder) writeFile(now time.Time) (path string, bytes int64, err error) {
	r.snapshots++
	name := fmt.Sprintf("flight-%d-%s-%d.trace", os.Getpid(), now.UTC().Format("20060102T150405"), r.snapshots)
	path = filepath.Join(r.config.Dir, name)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", 0, err
	}
	bytes, err = r.flight.WriteTo(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return "", 0, errors.Join(err, os.Remove(path))
	}
	return path, bytes, nil
}
