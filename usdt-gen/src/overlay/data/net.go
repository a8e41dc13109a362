package net

import (
	"internal/poll"
	"time"
)

// usdtOnAccept fires conn_accept.
func usdtOnAccept(fd *netFD) {
	if poll.UsdtConnAcceptEnabled() {
		remote := ""
		if fd.raddr != nil {
			remote = fd.raddr.String()
		}
		poll.UsdtConnAccept(int32(fd.pfd.Sysfd), remote)
	}
}

// usdtOnDialStart returns the current time if a tracer is attached to conn_dial, or else the zero
// time.
func usdtOnDialStart() (start time.Time) {
	if poll.UsdtConnDialEnabled() {
		start = time.Now()
	}
	return start
}

// usdtOnDialEnd fires conn_dial. err is a pointer because the call is deferred before the error is
// known.
func usdtOnDialEnd(network string, to Addr, start time.Time, err *error) {
	poll.UsdtConnDial(network, to.String(), int64(time.Since(start)), *err)
}
