package net

import (
	"internal/poll"
	"time"
)

// usdtAccepted fires conn_accept.
func usdtAccepted(fd *netFD) {
	if poll.UsdtConnAcceptEnabled() {
		remote := ""
		if fd.raddr != nil {
			remote = fd.raddr.String()
		}
		poll.UsdtConnAccept(int32(fd.pfd.Sysfd), remote)
	}
}

// usdtDials returns the start time of a dial, or the zero time if no tracer is attached.
func usdtDials() (began time.Time) {
	if poll.UsdtConnDialEnabled() {
		began = time.Now()
	}
	return began
}

// usdtDialed fires conn_dial.
func usdtDialed(network string, to Addr, began time.Time, err *error) {
	poll.UsdtConnDial(network, to.String(), int64(time.Since(began)), *err)
}
