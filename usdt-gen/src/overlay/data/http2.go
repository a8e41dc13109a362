package http2

// UsdtOutcome is what a probe tells of a response.
func (w *responseWriter) UsdtOutcome() (status int, bytes int64) {
	if w.rws == nil {
		return 0, 0
	}
	return w.rws.status, w.rws.wroteBytes
}
