package tls

import "time"

// usdtHandshakeBegins fires handshake_start.
func usdtHandshakeBegins(c *Conn) (began time.Time) {
	if usdtHandshakeStartEnabled() || usdtHandshakeEndEnabled() || usdtHandshakeErrorEnabled() {
		usdtHandshakeStart(c.isClient)
		began = time.Now()
	}
	return began
}

// usdtHandshakeEnds fires handshake_end or handshake_error.
func usdtHandshakeEnds(c *Conn, began time.Time) {
	if !usdtHandshakeEndEnabled() && !usdtHandshakeErrorEnabled() {
		return
	}
	ns := int64(0)
	if !began.IsZero() {
		ns = int64(time.Since(began))
	}
	if c.handshakeErr != nil {
		usdtHandshakeError(c.isClient, c.handshakeErr, ns)
	} else {
		usdtHandshakeEnd(c.isClient, c.vers, ns)
	}
}
