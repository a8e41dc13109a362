//go:build linux && (amd64 || arm64) && !usdt_off

package probes

// Gate is what counts the tracers.
func Gate() *uint16 { return &usdtProbeRecord.semaphore }
