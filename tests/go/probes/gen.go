package probes

//go:generate usdt-gen --lazy-args probes.d
