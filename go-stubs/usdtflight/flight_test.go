//go:build go1.25

package usdtflight

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func ExampleRun() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go Run(ctx, Config{Dir: os.TempDir()})

	if took := 2 * time.Second; took > time.Second {
		Snapshot("slow request")
	}
}

func TestArmedRecorderWritesSnapshots(t *testing.T) {
	r := recorder{config: Config{Dir: t.TempDir()}}
	r.write("not armed")
	r.arm()
	if !Armed() {
		t.Fatal("not armed")
	}
	for range 2 {
		r.write("test")
	}
	files, err := filepath.Glob(filepath.Join(r.config.Dir, "flight-*.trace"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil || len(data) < 16 || string(data[:4]) != "go 1" {
		t.Errorf("%q %v", data[:min(len(data), 16)], err)
	}
	r.config.Dir = filepath.Join(r.config.Dir, "missing")
	if _, _, err := r.writeFile(time.Now()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	r.disarm()
	if Armed() {
		t.Error("still armed")
	}
}

func TestRunReturnsErrRunningIfAlreadyRunning(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- Run(ctx, Config{PollInterval: time.Millisecond}) }()
	for !running.Load() {
		time.Sleep(time.Millisecond)
	}
	if err := Run(ctx, Config{}); err != ErrRunning {
		t.Error(err)
	}
	stop()
	if err := <-done; err != context.Canceled {
		t.Error(err)
	}
}

func TestDisabledAddsNoAllocation(t *testing.T) {
	if n := testing.AllocsPerRun(1000, func() { Snapshot("x") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSnapshotReportsWhetherTheRequestWasAccepted(t *testing.T) {
	if Snapshot("x") {
		t.Error("accepted although the recorder is not running")
	}
	r := recorder{config: Config{Dir: t.TempDir()}}
	r.arm()
	defer r.disarm()
	if !Snapshot("first") {
		t.Error("rejected although no request is pending")
	}
	if Snapshot("second") {
		t.Error("accepted although another request is pending")
	}
}

func BenchmarkSnapshot(b *testing.B) {
	for i := 0; i < b.N; i++ {
		Snapshot("x")
	}
}
