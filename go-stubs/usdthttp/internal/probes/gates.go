//go:build linux && (amd64 || arm64) && !usdt_off

package probes

// ServerGate is what counts the tracers of requests that are answered.
func ServerGate() (start, end *uint16) {
	return &usdtProbeServerRequestStart.semaphore, &usdtProbeServerRequestEnd.semaphore
}

// ClientGate is what counts the tracers of requests that are made.
func ClientGate() (start, end *uint16) {
	return &usdtProbeClientRequestStart.semaphore, &usdtProbeClientResponseReceived.semaphore
}
