// Hits fires probes as the tests ask: it waits for a tracer, fires, and says what it did.
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
	goroutines := flag.Int("goroutines", 1, "goroutines that fire")
	per := flag.Int("per", 1, "hits of each")
	types := flag.Bool("types", false, "fire one probe of each kind instead")
	all := flag.Bool("all", false, "wait until every probe is enabled, not just the one that says a tracer is there")
	other := flag.Bool("next", false, "wait until another probe is enabled: some tracers enable probes before they attach to them")
	onSignal := flag.Bool("signal", false, "wait for an interrupt: some tracers enable probes before they attach to them")
	timeout := flag.Duration("timeout", 100*time.Second, "how long to wait for a tracer")
	timed := flag.Bool("time", false, "say how long a hit took")
	linger := flag.Duration("linger", 0, "how long to stay after the last hit")
	next := flag.String("exec", "", "program to become after the last hit")
	flag.Parse()

	enabled := probes.HitEnabled
	if *types || *other {
		enabled = probes.MoreTypesEnabled
	}
	if *all {
		enabled = everyProbeEnabled
	}
	asked := make(chan os.Signal, 1)
	if *onSignal {
		signal.Notify(asked, os.Interrupt)
		enabled = func() bool { return len(asked) > 0 }
	}
	end := time.Now().Add(*timeout)
	for !enabled() {
		if time.Now().After(end) {
			fmt.Fprintln(os.Stderr, "no tracer came")
			os.Exit(1)
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(settle())
	if *types {
		everyType()
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
			self := goid()
			for n := 0; n < *per; n++ {
				probes.Hit(self, uint64(n), texts[n%len(texts)])
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

// settle is how long a tracer takes from enabling a probe to attaching to it, on kernels that do one after the other.
func settle() time.Duration {
	duration, _ := time.ParseDuration(os.Getenv("USDT_E2E_SETTLE"))
	return duration
}

// texts has the text of hit n at n modulo its length: distinct lengths and contents.
var texts = func() (out [100]string) {
	for i := range out {
		out[i] = strings.Repeat("x", i%40) + strconv.Itoa(i)
	}
	return
}()

// everyProbeEnabled is for tracers that attach to one probe after the other.
func everyProbeEnabled() bool {
	return probes.TypesEnabled() && probes.MoreTypesEnabled() && probes.TwelveEnabled() && probes.NothingEnabled() &&
		probes.HitEnabled() && probes.OtherProviderHitEnabled() && probes.KeywordsEnabled()
}

func everyType() {
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

// goid is the goroutine's id as its stack trace names it.
func goid() uint64 {
	buf := make([]byte, 64)
	fields := strings.Fields(string(buf[:runtime.Stack(buf, false)]))
	id, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		panic(err)
	}
	return id
}
