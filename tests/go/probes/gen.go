package probes

//go:generate usdt-gen probes.d
