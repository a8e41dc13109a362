package http2

// UsdtOutcome returns the status and the size of the response for the probe.
func (w *responseWriter) UsdtOutcome() (status int, bytes int64) {
	if w.rws == nil {
		return 0, 0
	}
	return w.rws.status, w.rws.wroteBytes
}
