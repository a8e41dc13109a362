// Bridge makes every probe of the runtime and the standard library fire, and writes to a file, as
// JSON, what it did.
//
//	bridge [FILE [wait]]
//
// With wait, it then starts goroutines that block forever, and runs until its standard input is
// closed.
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

// facts is what the program did. The test compares it with the events.
type facts struct {
	Worker      uint64 // entry addresses of functions
	Sleeper     uint64
	Workers     int
	Sleepers    int
	Syscalls    int
	Deep        int // stack size that a goroutine needed, in bytes
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
	Parked      int // goroutines that block forever
	Live        int // number of all goroutines once it no longer changes
}

var (
	wait     sync.WaitGroup
	start    = make(chan struct{})
	sink     [][]byte
	retained []*node
)

func worker() {
	<-start
	wait.Done()
}

func sleeper() {
	time.Sleep(time.Millisecond)
	wait.Done()
}

// growStack needs n KiB of stack.
//
//go:noinline
func growStack(n int) byte {
	var frame [1024]byte
	if n > 0 {
		frame[n%1024] = growStack(n - 1)
	}
	return frame[n/2%1024]
}

// named is a panic value with a method String.
type named struct{ name string }

func (n named) String() string { return "named " + n.name }

// hostile is a panic value whose method Error panics.
type hostile struct{}

func (hostile) Error() string { panic(hostile{}) }

// park starts goroutines that block forever. It waits until the number of all goroutines is stable,
// and returns it.
func park(count int) int {
	for i := 0; i < count; i++ {
		go func() { <-make(chan int) }()
	}
	live := 0
	for stable := 0; stable < 10; stable++ {
		if now := runtime.NumGoroutine(); now != live {
			live, stable = now, 0
		}
		time.Sleep(10 * time.Millisecond)
	}
	return live
}

// panicAndRecover panics with the value and recovers.
func panicAndRecover(value any) {
	defer func() { _ = recover() }()
	panic(value)
}

type node struct {
	next *node
	data [6]*node
}

// provokeAssists allocates until a metric shows that the collector has made the program assist in
// marking.
func provokeAssists() {
	defer debug.SetGCPercent(debug.SetGCPercent(5))
	assistTime := []metrics.Sample{{Name: "/cpu/classes/gc/mark/assist:cpu-seconds"}}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		var list *node
		for i := 0; i < 200000; i++ {
			list = &node{next: list}
		}
		retained = append(retained, list)
		runtime.GC()
		metrics.Read(assistTime)
		if assistTime[0].Value.Kind() == metrics.KindFloat64 && assistTime[0].Value.Float64() > 0 || len(retained) > 40 {
			break
		}
	}
	retained = nil
}

func main() {
	did := facts{Workers: 1000, Sleepers: 100, Syscalls: 50, Deep: 64 << 10, Large: 20, Small: 50000, Timers: 20}
	did.Worker = uint64(reflect.ValueOf(worker).Pointer())
	did.Sleeper = uint64(reflect.ValueOf(sleeper).Pointer())

	wait.Add(did.Workers)
	for i := 0; i < did.Workers; i++ {
		go worker()
	}
	close(start)
	wait.Wait()
	wait.Add(did.Sleepers)
	for i := 0; i < did.Sleepers; i++ {
		go sleeper()
	}
	wait.Wait()

	runtime.LockOSThread()
	for i := 0; i < did.Syscalls; i++ {
		_, _, _ = syscall.Syscall(syscall.SYS_GETPPID, 0, 0, 0)
	}
	runtime.UnlockOSThread()

	wait.Add(1)
	go func() {
		growStack(did.Deep / 1024)
		wait.Done()
	}()
	wait.Wait()

	for i := 0; i < did.Large; i++ {
		sink = append(sink[:0], make([]byte, 1<<20))
	}
	for i := 0; i < did.Small; i++ {
		sink = append(sink[:0], make([]byte, 208))
	}

	var none []int
	panicAndRecover("plain")
	panicAndRecover(errors.New("an error"))
	panicAndRecover(named{"value"})
	panicAndRecover(7)
	panicAndRecover(io.EOF)
	func() {
		defer func() { _ = recover() }()
		none[0]++
	}()
	panicAndRecover(hostile{})
	did.Panics = []string{"plain", "an error", "named value", "int", "EOF",
		"runtime error: index out of range [0] with length 0"}

	wait.Add(did.Timers)
	for i := 0; i < did.Timers; i++ {
		time.AfterFunc(time.Millisecond, wait.Done)
	}
	wait.Wait()

	useNetwork(&did)
	useDatabase(&did)
	provokeAssists()
	runtime.GC()

	shouldWait := len(os.Args) > 2 && strings.HasPrefix(os.Args[2], "wait")
	if shouldWait {
		did.Parked = 50
		did.Live = park(did.Parked)
	}
	debug.SetGCPercent(-1)
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	did.NumGC, did.Pause = stats.NumGC, stats.PauseTotalNs
	if len(os.Args) > 1 {
		data, err := json.Marshal(did)
		if err == nil {
			err = os.WriteFile(os.Args[1], data, 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if shouldWait {
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
}
