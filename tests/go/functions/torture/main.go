// Torture calls functions at depth, on moving stacks, with panics, runtime.Goexit, signals, garbage
// collection and preemption, on many goroutines. It checks what the functions return, and writes to a
// file, as JSON, how often each function was called and how often it returned.
//
//	torture FILE SECONDS [GOROUTINES]
//
// With 0 seconds it runs until its standard input ends.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"usdt.local/functions/torture/calls"
	"usdt.local/functions/torture/counts"
)

// functions are the counts by the name in stack traces, without type arguments.
var functions = map[string]*counts.Function{
	"Recurse": &calls.Recursing, "Grow": &calls.Growing, "Even": &calls.Evens, "Odd": &calls.Odds,
	"Leaf": &calls.Leaves, "Spin": &calls.Spins, "Allocate": &calls.Allocations, "Block": &calls.Blocks,
	"Park": &calls.Parks, "Stack": &calls.Stacks, "Reflect": &calls.Reflections,
	"(*Number).Add": &calls.Methods, "Generic": &calls.Generics, "Panic": &calls.Panicking,
	"Catch": &calls.Catches, "Recover": &calls.Recoveries, "Repanic": &calls.Repanics,
	"PanicTwice": &calls.Twice, "RecoverTwice": &calls.Retwice, "Exit": &calls.Exits,
}

const (
	// parkedGoroutines is the number of goroutines whose calls never return.
	parkedGoroutines = 5
	// parkedDepth is the number of calls below the outermost one of each of them.
	parkedDepth = 3
)

var (
	stop int32
	sink atomic.Value
)

func check(function *counts.Function, ok bool) {
	function.Returned()
	if !ok {
		fmt.Fprintln(os.Stderr, "a function returned a wrong value")
		debug.PrintStack()
		os.Exit(3)
	}
}

// turn makes each kind of call. n makes the depths differ.
func turn(n int) {
	depth := n % 40
	if n%97 == 0 {
		depth = 1500
	}
	check(&calls.Recursing, calls.Recurse(depth) == depth*(depth+1)/2)
	check(&calls.Growing, calls.Grow(n%25) == byte((n%25)*(n%25+1)/2))
	check(&calls.Evens, calls.Even(n%11) == (n%11%2 == 0))
	check(&calls.Leaves, calls.Leaf(n, 7) == n*31+7)
	check(&calls.Spins, calls.Spin(2000+n%5000) != 0)
	garbage := calls.Allocate(n % 50)
	check(&calls.Allocations, len(garbage) == n%50)
	sink.Store(garbage)
	a, b, c := calls.Stack([8]int{n}, "text", n, 1, 2, 3, 4, 5, 6, 7)
	check(&calls.Stacks, a[n&7] != 0 && b == "text" && c == n)
	in := []reflect.Value{reflect.ValueOf(1), reflect.ValueOf("text")}
	out := reflect.ValueOf(calls.Reflect).Call(in)
	check(&calls.Reflections, out[0].String() == "text")
	var number calls.Number
	var adder interface{ Add(int) int } = &number
	check(&calls.Methods, adder.Add(n) == n)
	check(&calls.Generics, calls.Generic(n, n%3) == n)
	check(&calls.Generics, calls.Generic("text", n%4) == "text")
	check(&calls.Recoveries, calls.Recover(n%7, n%5) == n%5)
	check(&calls.Retwice, calls.RecoverTwice(n%3) == 0)

	var wait sync.WaitGroup
	wait.Add(2)
	go func() { // a goroutine with a small stack
		defer wait.Done()
		check(&calls.Growing, calls.Grow(20) == byte(20*21/2))
		calls.Exit(n % 6)
	}()
	value := make(chan int)
	go func() {
		defer wait.Done()
		check(&calls.Blocks, calls.Block(n%60, value) == n)
	}()
	runtime.Gosched()
	value <- n
	wait.Wait()
}

func main() {
	seconds, err := strconv.ParseFloat(os.Args[2], 64)
	if err != nil {
		panic(err)
	}
	goroutines := 200
	if len(os.Args) > 3 {
		goroutines, _ = strconv.Atoi(os.Args[3])
	}
	runtime.GOMAXPROCS(4 * runtime.NumCPU())
	debug.SetGCPercent(20)
	// Its signals interrupt code at any instruction.
	if err := pprof.StartCPUProfile(io.Discard); err != nil {
		panic(err)
	}
	parked := make(chan bool)
	for i := 0; i < parkedGoroutines; i++ {
		go calls.Park(parkedDepth, parked)
		<-parked
	}
	go func() {
		if seconds > 0 {
			time.Sleep(time.Duration(seconds * float64(time.Second)))
		} else {
			_, _ = io.Copy(io.Discard, os.Stdin)
		}
		atomic.StoreInt32(&stop, 1)
	}()
	go func() {
		for {
			time.Sleep(20 * time.Millisecond)
			debug.FreeOSMemory() // which collects garbage
		}
	}()
	var wait sync.WaitGroup
	for i := 0; i < goroutines; i++ {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			for n := i; atomic.LoadInt32(&stop) == 0; n++ {
				turn(n)
				time.Sleep(time.Millisecond)
			}
		}(i)
	}
	wait.Wait()
	pprof.StopCPUProfile()

	all := map[string]counts.Count{}
	for name, function := range functions {
		all[name] = function.Count()
	}
	text, err := json.Marshal(all)
	if err == nil {
		err = os.WriteFile(os.Args[1], text, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
