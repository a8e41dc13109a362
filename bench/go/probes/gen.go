// Package probes contains the probes of the benchmarks.
package probes

//go:generate usdt-gen --lazy-args probes.d
