package http

import (
	"sync/atomic"
	"time"
)

// usdtRequests is the last request ID.
var usdtRequests atomic.Uint64

// usdtRequestBegins fires server_request_start.
func usdtRequestBegins(req *Request) (id uint64, began time.Time) {
	id = usdtRequests.Add(1)
	if usdtServerRequestStartEnabled() {
		path := ""
		if req.URL != nil {
			path = req.URL.Path
		}
		usdtServerRequestStart(req.Method, path, req.Host, id)
	}
	return id, time.Now()
}

// usdtRequestEnds fires server_request_end.
func usdtRequestEnds(id uint64, began time.Time, rw ResponseWriter) {
	if !usdtServerRequestEndEnabled() {
		return
	}
	status, bytes := 0, int64(0)
	if w, ok := rw.(interface{ UsdtOutcome() (int, int64) }); ok {
		status, bytes = w.UsdtOutcome()
	}
	if status == 0 {
		status = StatusOK
	}
	usdtServerRequestEnd(int32(status), id, bytes, int64(time.Since(began)))
}

// UsdtOutcome returns the status and the size of the response for the probe.
func (w *response) UsdtOutcome() (status int, bytes int64) { return w.status, w.written }

// usdtRoundTrip sends a request and fires the client probes.
func usdtRoundTrip(t *Transport, req *Request) (*Response, error) {
	id := usdtRequests.Add(1)
	if usdtClientRequestStartEnabled() {
		url := ""
		if req.URL != nil {
			url = req.URL.Redacted()
		}
		usdtClientRequestStart(req.Method, url, id)
	}
	began := time.Now()
	res, err := t.roundTrip(req)
	status, length := 0, int64(-1)
	if res != nil {
		status, length = res.StatusCode, res.ContentLength
	}
	usdtClientResponseReceived(int32(status), id, length, int64(time.Since(began)), err)
	return res, err
}
