package http2

// UsdtResult returns the status code and the body size in bytes of a response, for usdtOnRequestEnd
// of net/http.
func (w *responseWriter) UsdtResult() (status int, bytes int64) {
	if w.rws == nil {
		return 0, 0
	}
	return w.rws.status, w.rws.wroteBytes
}
