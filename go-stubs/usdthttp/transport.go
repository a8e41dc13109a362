package usdthttp

import (
	"net/http"
	"time"

	"usdt.local/go-stubs/usdthttp/internal/probes"
)

// Transport returns a transport that sends requests through base, or http.DefaultTransport if base is nil, and fires
// net_http:client_request_start and net_http:client_response_received.
func Transport(base http.RoundTripper) http.RoundTripper {
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
	probes.ClientResponseReceived(int32(status), id, bytes, int64(time.Since(start)), err)
	return response, err
}

// CloseIdleConnections closes those of the base transport, for http.Client.CloseIdleConnections.
func (t *transport) CloseIdleConnections() {
	if base, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}
