// Bridge provokes every probe of the runtime and the standard library and writes down what it did, as JSON, to the file
// that is its argument.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync"
	"syscall"
	"time"
)

type facts struct {
	Worker      uint64 // entry addresses of functions
	Sleeper     uint64
	Workers     int
	Sleepers    int
	Syscalls    int
	Deep        int // bytes of stack that a goroutine needed
	Large       int // allocations of 1 MiB
	Small       int // allocations of 208 bytes
	Panics      []string
	Timers      int
	NumGC       uint32
	Pause       uint64
	Requests    []request
	Sent        []request
	Refused     string
	Distrusted  string
	Statements  map[string][]string
	Connections int
	Parked      int // goroutines that wait for good
	Live        int // all goroutines, when no more of them end
}

var (
	all  sync.WaitGroup
	gate = make(chan struct{})
	sink [][]byte
	keep []*node
)

func worker() {
	<-gate
	all.Done()
}

func sleeper() {
	time.Sleep(time.Millisecond)
	all.Done()
}

//go:noinline
func deep(n int) byte {
	var frame [1024]byte
	if n > 0 {
		frame[n%1024] = deep(n - 1)
	}
	return frame[n/2%1024]
}

type named struct{ name string }

func (n named) String() string { return "named " + n.name }

type hostile struct{}

func (hostile) Error() string { panic(hostile{}) }

// park makes goroutines that wait and returns how many there are then, of all kinds, when those of the past are gone.
func park(count int) int {
	for i := 0; i < count; i++ {
		go func() { <-make(chan int) }()
	}
	live := 0
	for same := 0; same < 10; same++ {
		if now := runtime.NumGoroutine(); now != live {
			live, same = now, 0
		}
		time.Sleep(10 * time.Millisecond)
	}
	return live
}

func panics(value any) {
	defer func() { _ = recover() }()
	panic(value)
}

type node struct {
	next *node
	data [6]*node
}

// assists allocates until the collector has made it help, which metrics show.
func assists() {
	defer debug.SetGCPercent(debug.SetGCPercent(5))
	helped := []metrics.Sample{{Name: "/cpu/classes/gc/mark/assist:cpu-seconds"}}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		var list *node
		for i := 0; i < 200000; i++ {
			list = &node{next: list}
		}
		keep = append(keep, list)
		runtime.GC()
		metrics.Read(helped)
		if helped[0].Value.Kind() == metrics.KindFloat64 && helped[0].Value.Float64() > 0 || len(keep) > 40 {
			break
		}
	}
	keep = nil
}

func main() {
	did := facts{Workers: 1000, Sleepers: 100, Syscalls: 50, Deep: 64 << 10, Large: 20, Small: 50000, Timers: 20}
	did.Worker = uint64(reflect.ValueOf(worker).Pointer())
	did.Sleeper = uint64(reflect.ValueOf(sleeper).Pointer())

	all.Add(did.Workers)
	for i := 0; i < did.Workers; i++ {
		go worker()
	}
	close(gate)
	all.Wait()
	all.Add(did.Sleepers)
	for i := 0; i < did.Sleepers; i++ {
		go sleeper()
	}
	all.Wait()

	runtime.LockOSThread()
	for i := 0; i < did.Syscalls; i++ {
		_, _, _ = syscall.Syscall(syscall.SYS_GETPPID, 0, 0, 0)
	}
	runtime.UnlockOSThread()

	all.Add(1)
	go func() {
		deep(did.Deep / 1024)
		all.Done()
	}()
	all.Wait()

	for i := 0; i < did.Large; i++ {
		sink = append(sink[:0], make([]byte, 1<<20))
	}
	for i := 0; i < did.Small; i++ {
		sink = append(sink[:0], make([]byte, 208))
	}

	var none []int
	panics("plain")
	panics(errors.New("an error"))
	panics(named{"value"})
	panics(7)
	panics(io.EOF)
	func() {
		defer func() { _ = recover() }()
		none[0]++
	}()
	panics(hostile{})
	did.Panics = []string{"plain", "an error", "named value", "int", "EOF",
		"runtime error: index out of range [0] with length 0"}

	all.Add(did.Timers)
	for i := 0; i < did.Timers; i++ {
		time.AfterFunc(time.Millisecond, all.Done)
	}
	all.Wait()

	network(&did)
	database(&did)
	assists()
	runtime.GC()

	waits := len(os.Args) > 2 && strings.HasPrefix(os.Args[2], "wait")
	if waits {
		did.Parked = 50
		did.Live = park(did.Parked)
	}
	debug.SetGCPercent(-1)
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	did.NumGC, did.Pause = stats.NumGC, stats.PauseTotalNs
	if len(os.Args) > 1 {
		text, err := json.Marshal(did)
		if err == nil {
			err = os.WriteFile(os.Args[1], text, 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if waits {
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
}
