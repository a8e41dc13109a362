package net

import (
	"internal/poll"
	"time"
)

func usdtAccepted(fd *netFD) {
	if poll.UsdtConnAcceptEnabled() {
		remote := ""
		if fd.raddr != nil {
			remote = fd.raddr.String()
		}
		poll.UsdtConnAccept(int32(fd.pfd.Sysfd), remote)
	}
}

func usdtDials() (began time.Time) {
	if poll.UsdtConnDialEnabled() {
		began = time.Now()
	}
	return began
}

func usdtDialed(network string, to Addr, began time.Time, err *error) {
	poll.UsdtConnDial(network, to.String(), int64(time.Since(began)), *err)
}
