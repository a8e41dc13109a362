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

// Config configures the flight recorder and where snapshots are written.
type Config struct {
	// Dir is the directory of snapshots; os.TempDir() if it is empty.
	Dir string
	// MinAge is the least time that the recorder keeps. 0 leaves it to the runtime (10 seconds).
	MinAge time.Duration
	// MaxBytes limits the recorder's buffer, as far as the runtime honors it. 0 leaves it to the runtime.
	MaxBytes uint64
	// Look is the interval of checks for an attached tracer; 100 milliseconds if it is 0.
	Look time.Duration
}

// ErrRunning is returned by Run if it is already running: a program has one flight recorder.
var ErrRunning = errors.New("usdtflight: already running")

var (
	running atomic.Bool
	// wanted holds the reason of a requested snapshot that has not been started.
	wanted = make(chan string, 1)
	armed  atomic.Bool
)

// Snapshot requests a snapshot if the recorder is armed, and does not wait for it. The probe flight:snapshot has the
// reason. A request made while a snapshot is being written is served next; further ones are dropped.
func Snapshot(reason string) {
	if armed.Load() {
		select {
		case wanted <- reason:
		default:
		}
	}
}

// Armed reports whether the recorder is running.
func Armed() bool { return armed.Load() }

// Run arms the recorder while a tracer is attached, until the context ends. It returns the context's error, or
// ErrRunning.
func Run(ctx context.Context, config Config) error {
	if !running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer running.Store(false)
	if config.Dir == "" {
		config.Dir = os.TempDir()
	}
	if config.Look <= 0 {
		config.Look = 100 * time.Millisecond
	}
	r := recorder{config: config}
	defer r.disarm()
	ticker := time.NewTicker(config.Look)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case reason := <-wanted:
			r.write(reason)
		case <-ticker.C:
			r.poll()
		}
	}
}

type recorder struct {
	config    Config
	flight    *trace.FlightRecorder
	requested bool
	written   int
	// reportStart reports only the first failure to start.
	reportStart sync.Once
}

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
		// Another recorder of the program is running.
		r.reportStart.Do(func() { probes.Snapshot("", "", 0, 0, err) })
		return
	}
	r.flight = flight
	armed.Store(true)
	probes.Armed(int64(r.config.MinAge), r.config.MaxBytes)
}

func (r *recorder) disarm() {
	if r.flight == nil {
		return
	}
	armed.Store(false)
	r.flight.Stop()
	r.flight = nil
	r.reportStart = sync.Once{}
	select {
	case <-wanted:
	default:
	}
}

func (r *recorder) write(reason string) {
	if r.flight == nil {
		return
	}
	start := time.Now()
	path, bytes, err := r.writeFile(start)
	probes.Snapshot(path, reason, uint64(bytes), int64(time.Since(start)), err)
}

// writeFile writes a snapshot to a new file, which it removes if it fails.
func (r *recorder) writeFile(now time.Time) (path string, bytes int64, err error) {
	r.written++
	name := fmt.Sprintf("flight-%d-%s-%d.trace", os.Getpid(), now.UTC().Format("20060102T150405"), r.written)
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
