package usdthttp

import (
	"net/http"
	"time"

	"usdt.local/go-stubs/usdthttp/internal/probes"
)

// NewTransport returns a transport that fires net_http:client_request_start, sends the request
// through base, and fires net_http:client_response_received. If base is nil, it uses
// http.DefaultTransport.
func NewTransport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{base}
}

type transport struct{ base http.RoundTripper }

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if probes.ClientRequestStartEnabled() || probes.ClientResponseReceivedEnabled() {
		return t.roundTripTraced(r)
	}
	return t.base.RoundTrip(r)
}

func (t *transport) roundTripTraced(r *http.Request) (*http.Response, error) {
	id, start := lastRequestID.Add(1), time.Now()
	url := ""
	if r.URL != nil {
		url = r.URL.Redacted()
	}
	probes.ClientRequestStart(r.Method, url, id, r.Header.Get("Traceparent"))
	response, err := t.base.RoundTrip(r)
	status, bytes := 0, int64(-1)
	if err == nil && response != nil {
		status, bytes = response.StatusCode, response.ContentLength
	}
	probes.ClientResponseReceived(int32(status), id, bytes, time.Since(start), err)
	return response, err
}

// CloseIdleConnections closes the idle connections of the base transport.
// http.Client.CloseIdleConnections calls it.
func (t *transport) CloseIdleConnections() {
	if base, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}
