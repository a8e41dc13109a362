package tls

import "time"

// usdtOnHandshakeStart fires handshake_start. It returns the current time if a tracer is attached
// to a probe of handshakes, or else the zero time.
func usdtOnHandshakeStart(c *Conn) (start time.Time) {
	if usdtHandshakeStartEnabled() || usdtHandshakeEndEnabled() || usdtHandshakeErrorEnabled() {
		usdtHandshakeStart(c.isClient)
		start = time.Now()
	}
	return start
}

// usdtOnHandshakeEnd fires handshake_end or handshake_error.
func usdtOnHandshakeEnd(c *Conn, start time.Time) {
	if !usdtHandshakeEndEnabled() && !usdtHandshakeErrorEnabled() {
		return
	}
	ns := int64(0)
	if !start.IsZero() {
		ns = int64(time.Since(start))
	}
	if c.handshakeErr != nil {
		usdtHandshakeError(c.isClient, c.handshakeErr, ns)
	} else {
		usdtHandshakeEnd(c.isClient, c.vers, ns)
	}
}
