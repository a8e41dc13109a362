// Functions calls functions in ways that tracers of functions have to get right, and writes to a
// file, as JSON, what it did. It builds with every Go release from 1.18 on.
//
//	functions FILE [ROUNDS]
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// facts is what the program did. The test compares it with the hits.
type facts struct {
	Gets, Found, Missing int
	Fib                  int // calls of fib
	Grow                 int // calls of grow
	Unwound              int // calls of unwound that a panic or Goexit ended
	Returned             int // calls of unwound that returned
}

// store is a type with methods and fields of several kinds.
type store struct {
	name   string
	limits limits
	values map[string]string
}

type limits struct {
	low, high int32
}

var errMissing = errors.New("no such key")

// returned keeps the errors in memory, whose messages a tracer reads shortly after the hits.
var returned struct {
	sync.Mutex
	errors []error
}

// Get has two results of several words and two returns.
//
//go:noinline
func (s *store) Get(key string, attempt int) (string, error) {
	if value, ok := s.values[key]; ok {
		return value, nil
	}
	if attempt > 2 {
		return "", fmt.Errorf("key %q: %w", key, errMissing)
	}
	return "", errMissing
}

//go:noinline
func fib(n int) int {
	if n < 2 {
		return n
	}
	return fib(n-1) + fib(n-2)
}

// grow needs a larger stack at each level, so that the stack moves while its callers run.
//
//go:noinline
func grow(depth int) byte {
	var frame [512]byte
	if depth == 0 {
		return frame[depth]
	}
	frame[depth%512] = grow(depth - 1)
	return frame[depth%7]
}

// unwound ends as how says: 0 returns, 1 panics, 2 ends the goroutine, others call themselves.
//
//go:noinline
func unwound(how int) int {
	switch how {
	case 0:
		return 1
	case 1:
		panic("unwound")
	case 2:
		runtime.Goexit()
	}
	return unwound(how-3) + 1
}

// recovered calls unwound and recovers its panic. The stack has another depth for each value of
// skip.
//
//go:noinline
func recovered(how, skip int) (result int) {
	defer func() {
		if recover() != nil {
			result = -1
		}
	}()
	if skip > 0 {
		return recovered(how, skip-1)
	}
	return unwound(how)
}

// leaf has no stack check and no frame.
//
//go:noinline
func leaf(a, b int) int {
	return a + b
}

//go:noinline
func kinds(flag bool, small int8, wide uint64, ratio float64, text []byte, wait time.Duration) (int32, bool) {
	if flag {
		return int32(small), ratio > 1
	}
	return int32(len(text)) + int32(wide), wait > 0
}

func inlined(a int) int {
	return a * 3
}

func work(rounds int, out *facts) {
	s := &store{name: "first", limits: limits{low: -7, high: 40}, values: map[string]string{"a": "alpha", "b": "beta"}}
	var lock sync.Mutex
	var wait sync.WaitGroup
	for i := 0; i < 8; i++ {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			var own facts
			defer func() {
				lock.Lock()
				out.Gets += own.Gets
				out.Found += own.Found
				out.Missing += own.Missing
				out.Fib += own.Fib
				out.Grow += own.Grow
				out.Unwound += own.Unwound
				out.Returned += own.Returned
				lock.Unlock()
			}()
			for round := 0; round < rounds; round++ {
				for attempt, key := range []string{"a", "b", "c", "dddd"} {
					own.Gets++
					if _, err := s.Get(key, attempt); err == nil {
						own.Found++
					} else {
						own.Missing++
						returned.Lock()
						returned.errors = append(returned.errors, err)
						returned.Unlock()
					}
				}
				fib(8)
				own.Fib += 67
				done := make(chan bool)
				go func() { // a goroutine with a small stack
					grow(20)
					done <- true
				}()
				<-done
				own.Grow += 21
				recovered(0, round%3)
				own.Returned++
				recovered(9, round%4) // four calls that return
				own.Returned += 4
				recovered(1, round%5)
				own.Unwound++
				recovered(7, round%2) // three calls that a panic unwinds
				own.Unwound += 3
				var ended sync.WaitGroup
				ended.Add(1)
				go func() {
					defer ended.Done()
					recovered(5, round%3) // two calls that Goexit unwinds
				}()
				ended.Wait()
				own.Unwound += 2
				leaf(round, inlined(i))
				kinds(round%2 == 0, -5, 1<<40, 1.5, []byte("text"), time.Second)
				runtime.Gosched()
			}
		}(i)
	}
	wait.Wait()
}

func main() {
	rounds := 10
	if len(os.Args) > 2 {
		rounds, _ = strconv.Atoi(os.Args[2])
	}
	var out facts
	work(rounds, &out)
	text, err := json.Marshal(out)
	if err == nil {
		err = os.WriteFile(os.Args[1], text, 0o644)
	}
	// The tracer may still read messages of errors.
	time.Sleep(200 * time.Millisecond)
	runtime.KeepAlive(&returned)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
