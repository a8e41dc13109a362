// Package probes has what the benchmarks fire.
package probes

//go:generate usdt-gen --lazy-args probes.d
