//go:build gc && (amd64 || arm64)

package relay

import (
	"errors"
	"runtime"
	"strings"
	"testing"
)

// both has methods with arguments and results of every kind of place: registers, stack, floating point.
type both interface {
	First(a int, text string, big [20]int64, f float64) (int, string, [3]int64, error)
	Second(rest ...string) string
	Third() string
}

type wrapper struct {
	next  both
	gates [2]Gate
	name  string
}

var failed = errors.New("failed")

func (w *wrapper) First(a int, text string, big [20]int64, f float64) (int, string, [3]int64, error) {
	return a, w.name + text, [3]int64{big[0], big[19], int64(f)}, failed
}
func (w *wrapper) Second(rest ...string) string { return w.name + strings.Join(rest, "") }
func (w *wrapper) Third() string                { return w.name }

var wrappers = Of[both](&wrapper{}, Code((*wrapper).First), Code((*wrapper).Second))

func TestThisReleaseCallsAsExpected(t *testing.T) {
	if !works || !wrappers.Jumps() {
		t.Fatal("wrappers copy what they pass on: this release of Go has other method tables, or calls otherwise")
	}
}

func TestGates(t *testing.T) {
	var first, second, third uint16
	inner := &wrapper{name: "inner "}
	outer := &wrapper{next: inner, name: "outer "}
	outer.gates = [2]Gate{wrappers.Gate(0, &first, &second), wrappers.Gate(1, &third, &third)}
	all := wrappers.Wrapped(outer)
	if any(all).(*wrapper) != outer {
		t.Error("it is of another type")
	}
	check := func(one, two string) {
		t.Helper()
		big := [20]int64{0: 7, 19: 8}
		a, text, ends, err := all.First(3, "x", big, 2.5)
		if a != 3 || text != one+"x" || ends != [3]int64{7, 8, 2} || err != failed {
			t.Errorf("%d %q %v %v", a, text, ends, err)
		}
		if said := all.Second("y", "z"); said != two+"yz" {
			t.Errorf("%q", said)
		}
		if said := all.Third(); said != "outer " {
			t.Errorf("%q: only the first two jump", said)
		}
	}
	check("inner ", "inner ")
	for _, one := range []*uint16{&first, &second} {
		for _, count := range []uint16{1, 0x100, 0xffff} {
			*one = count
			check("outer ", "inner ")
			*one = 0
		}
	}
	third = 1
	check("inner ", "outer ")
}

func TestOtherTablesStayAsTheyAre(t *testing.T) {
	other := Of[both](&wrapper{}, Code((*wrapper).Second), Code((*wrapper).First))
	if other.Jumps() {
		t.Error("methods in another order were taken for the first two")
	}
	if said := other.Wrapped(&wrapper{name: "own"}).Second(); said != "own" {
		t.Errorf("%q", said)
	}
	if more := Of[tester](&trial{}, Code((*trial).try), 0); more.Jumps() {
		t.Error("there is one method")
	}
}

// Nothing to jump to is a nil pointer as it is in Go.
func TestNothingBehindPanics(t *testing.T) {
	var nobody uint16
	defer func() {
		if _, ok := recover().(runtime.Error); !ok {
			t.Error("no panic")
		}
	}()
	gate := wrappers.Gate(0, &nobody, &nobody)
	wrappers.Wrapped(&wrapper{gates: [2]Gate{gate, gate}}).Second()
}
