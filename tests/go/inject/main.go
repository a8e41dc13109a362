// Command inject calls functions of its own, of other modules and of the standard library. It knows
// nothing of probes.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"gopkg.in/yaml.v3"
	"usdt.local/inject/asm"
	"usdt.local/inject/cgo"
	"usdt.local/inject/flow"
	"usdt.local/inject/generic"
	"usdt.local/inject/spans"
	"usdt.local/inject/values"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "panic" {
		flow.Deep(2)
	}
	run(len(os.Args), os.Args[0])
}

// run calls everything once or twice.
func run(count int, name string) {
	values.Integers(-1, -2, -3, -4, -5, 6, 7, 8, 9, -10)
	values.Floats(1.5, 2.25, true)
	values.Strings("k1", []byte("data"), time.Second)
	values.Strings("", nil, 0)
	values.Sizes([]int{1, 2}, map[string]int{"a": 1}, values.Square{}, errors.New("oops"), "x", "y")
	values.Sizes(nil, nil, nil, nil)
	values.Path(&values.Request{Method: "GET", URL: &url.URL{Path: "/items"}})
	values.Path(&values.Request{Method: "PUT"})
	values.Path(nil)
	values.Sides(values.Square{})
	values.Sides(nil)
	values.Shadow(1, 2, nil, true)
	values.Tiny(1)
	values.Excluded(1)
	flow.Locked(21)
	flow.Recovers(1)
	flow.Many(3, "")
	flow.Many(99, "")
	var wait sync.WaitGroup
	wait.Add(1)
	go func() {
		defer wait.Done()
		flow.Exits(1)
	}()
	wait.Wait()
	var counter flow.Counter
	counter.Add(5)
	own, caller, function := flow.Line()
	fmt.Fprintln(os.Stderr, "lines", own, caller, function, counter.Value())
	cgo.Twice(4, "cgo")
	asm.Ask("question")
	spans.Handle(spans.With(context.Background()), "span")
	spans.Handle(context.Background(), "none")
	var tree generic.Tree[values.Key, int]
	tree.Put("a", 1, "first")
	generic.Sorted([]string{"b", "a"}, "strings", func(a, b string) bool { return a < b })
	generic.Sorted([]int{2, 1, 3}, "ints", func(a, b int) bool { return a < b })
	xxhash.New().Write([]byte("hash me"))
	var document map[string]int
	if err := yaml.Unmarshal([]byte("a: 1"), &document); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	strconv.ParseInt("77", 10, 64)
	strings.NewReplacer("a", "b").Replace("banana")
	values.Enums(values.StateIdle, time.March, 3)
	values.Enums(values.StateBroken, 13, 0)
	values.Enums(values.StateActive, 0, 0)
	values.Enums(7, 0, 0)
}
