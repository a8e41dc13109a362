// Hits waits for a tracer, fires probes as the flags say, and reports how many.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"usdt.local/tests/probes"
)

func main() {
	goroutines := flag.Int("goroutines", 1, "number of goroutines that fire")
	per := flag.Int("per", 1, "hits of each goroutine")
	types := flag.Bool("types", false, "fire the probes with all argument types instead")
	all := flag.Bool("all", false, "wait until all probes are enabled, for tracers that attach to one after the other")
	waitForNext := flag.Bool("next", false, "wait until another probe is enabled, for tracers that enable a probe before they attach to it")
	onSignal := flag.Bool("signal", false, "wait for SIGINT instead, for tracers that enable a probe before they attach to it")
	timeout := flag.Duration("timeout", 100*time.Second, "how long to wait for a tracer")
	timed := flag.Bool("time", false, "report the time per hit")
	linger := flag.Duration("linger", 0, "time to stay after the last hit")
	next := flag.String("exec", "", "program to execute after the last hit")
	flag.Parse()

	enabled := probes.HitEnabled
	if *types || *waitForNext {
		enabled = probes.MoreTypesEnabled
	}
	if *all {
		enabled = everyProbeEnabled
	}
	interrupts := make(chan os.Signal, 1)
	if *onSignal {
		signal.Notify(interrupts, os.Interrupt)
		enabled = func() bool { return len(interrupts) > 0 }
	}
	end := time.Now().Add(*timeout)
	for !enabled() {
		if time.Now().After(end) {
			fmt.Fprintln(os.Stderr, "no tracer attached")
			os.Exit(1)
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(settle())
	if *types {
		fireAllTypes()
		fmt.Fprintln(os.Stderr, "done")
		time.Sleep(*linger)
		return
	}
	var wait sync.WaitGroup
	start := time.Now()
	for i := 0; i < *goroutines; i++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			self := goroutineID()
			for n := 0; n < *per; n++ {
				probes.Hit(self, uint64(n), hitTexts[n%len(hitTexts)])
			}
		}()
	}
	wait.Wait()
	if *timed {
		fmt.Fprintf(os.Stderr, "took %.1f ns\n", float64(time.Since(start))/float64(*goroutines**per))
	}
	fmt.Fprintln(os.Stderr, "done", *goroutines**per)
	time.Sleep(*linger)
	if *next != "" {
		panic(syscall.Exec(*next, []string{*next}, os.Environ()))
	}
}

// settle returns the time that a tracer takes from enabling a probe to attaching to it, on kernels
// where these are two steps.
func settle() time.Duration {
	duration, _ := time.ParseDuration(os.Getenv("USDT_E2E_SETTLE"))
	return duration
}

// hitTexts holds strings of different lengths and contents. Hit n has the one at index n modulo
// 100.
var hitTexts = func() (out [100]string) {
	for i := range out {
		out[i] = strings.Repeat("x", i%40) + strconv.Itoa(i)
	}
	return
}()

// everyProbeEnabled reports whether a tracer is attached to all probes.
func everyProbeEnabled() bool {
	return probes.TypesEnabled() && probes.MoreTypesEnabled() && probes.TwelveEnabled() && probes.NothingEnabled() &&
		probes.HitEnabled() && probes.OtherProviderHitEnabled() && probes.KeywordsEnabled()
}

// fireAllTypes fires each probe, with extreme values, with zero values and with long strings.
func fireAllTypes() {
	probes.Types(-1, math.MinInt8, math.MinInt16, math.MinInt32, math.MinInt64, math.MaxUint8, math.MaxUint16, math.MaxUint32)
	value := 42
	probes.MoreTypes(math.MaxUint64, 1.5, -2.25, true, "C \"text\"", []byte{0, 1, 0xff}, errors.New("it broke\n"), unsafe.Pointer(&value))
	probes.MoreTypes(0, float32(math.Inf(1)), math.NaN(), false, "", nil, nil, nil)
	probes.MoreTypes(1, 0, 0, true, strings.Repeat("c", 300), bytes.Repeat([]byte{7}, 300), errors.New(strings.Repeat("e", 300)), nil)
	probes.Twelve(1, -2, 3, -4, 5, -6, 7, -8, 9, -10, 11, -12)
	probes.Nothing()
	probes.OtherProviderHit(7)
	probes.Keywords(1, 2, 3, 4, 5, 6, 7)
}

// goroutineID returns the ID of the goroutine, which it reads from a stack trace.
func goroutineID() uint64 {
	buf := make([]byte, 64)
	fields := strings.Fields(string(buf[:runtime.Stack(buf, false)]))
	id, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		panic(err)
	}
	return id
}
