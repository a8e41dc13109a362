package main

import (
	"go/constant"
	"go/types"
	"sort"
)

// A label is the name of a constant of an integer type.
type label struct {
	Value int64  `json:"value"`
	Name  string `json:"name"`
}

const (
	// maxLabels is the largest number of labels of a type: they are part of each binary.
	maxLabels = 64
	// maxLabelBytes limits the length of all names together.
	maxLabelBytes = 2048
)

// constantLabels returns the names of the constants that a package declares with its integer type t,
// one for each value, ordered by value. There are none if t has fewer than two or too many, and for
// constants that export data does not have: those that other packages cannot name.
func constantLabels(t types.Type) []label {
	named, ok := t.(*types.Named)
	if !ok {
		return nil
	}
	basic, ok := named.Underlying().(*types.Basic)
	pkg := named.Obj().Pkg()
	if !ok || basic.Info()&types.IsInteger == 0 || pkg == nil {
		return nil
	}
	chosen := map[int64]string{}
	for _, name := range pkg.Scope().Names() {
		c, ok := pkg.Scope().Lookup(name).(*types.Const)
		if !ok || !types.Identical(c.Type(), t) || !isASCII(name) {
			continue
		}
		value, exact := constant.Int64Val(constant.ToInt(c.Val()))
		if !exact {
			continue
		}
		if other, taken := chosen[value]; !taken || isBetterLabel(name, other) {
			chosen[value] = name
		}
	}
	var labels []label
	size := 0
	for value, name := range chosen {
		labels = append(labels, label{value, name})
		size += len(name)
	}
	if len(labels) < 2 || len(labels) > maxLabels || size > maxLabelBytes {
		return nil
	}
	sort.Slice(labels, func(i, j int) bool { return labels[i].Value < labels[j].Value })
	return labels
}

// isBetterLabel reports whether name is preferred to another name of the same value: an exported one
// to a private one, which is often a limit such as numStates.
func isBetterLabel(name, other string) bool {
	exported := func(s string) bool { return s[0] >= 'A' && s[0] <= 'Z' }
	if exported(name) != exported(other) {
		return exported(name)
	}
	return name < other
}

func isASCII(name string) bool { return ascii(name) == name }
