package http

import (
	"sync/atomic"
	"time"
)

// usdtLastRequestID is the ID of the last traced request of any server or client.
var usdtLastRequestID atomic.Uint64

// usdtOnRequestStart fires server_request_start and returns the arguments of usdtOnRequestEnd.
func usdtOnRequestStart(req *Request) (id uint64, start time.Time) {
	id = usdtLastRequestID.Add(1)
	if usdtServerRequestStartEnabled() {
		path := ""
		if req.URL != nil {
			path = req.URL.Path
		}
		usdtServerRequestStart(req.Method, path, req.Host, id)
	}
	return id, time.Now()
}

// usdtOnRequestEnd fires server_request_end.
func usdtOnRequestEnd(id uint64, start time.Time, rw ResponseWriter) {
	if !usdtServerRequestEndEnabled() {
		return
	}
	status, bytes := 0, int64(0)
	if w, ok := rw.(interface{ UsdtResult() (int, int64) }); ok {
		status, bytes = w.UsdtResult()
	}
	if status == 0 {
		status = StatusOK
	}
	usdtServerRequestEnd(int32(status), id, bytes, int64(time.Since(start)))
}

// UsdtResult returns the status code and the body size in bytes of a response, for
// usdtOnRequestEnd.
func (w *response) UsdtResult() (status int, bytes int64) { return w.status, w.written }

// usdtRoundTrip sends a request and fires the probes of clients.
func usdtRoundTrip(t *Transport, req *Request) (*Response, error) {
	id := usdtLastRequestID.Add(1)
	if usdtClientRequestStartEnabled() {
		url := ""
		if req.URL != nil {
			url = req.URL.Redacted()
		}
		usdtClientRequestStart(req.Method, url, id)
	}
	start := time.Now()
	res, err := t.roundTrip(req)
	status, length := 0, int64(-1)
	if res != nil {
		status, length = res.StatusCode, res.ContentLength
	}
	usdtClientResponseReceived(int32(status), id, length, int64(time.Since(start)), err)
	return res, err
}
