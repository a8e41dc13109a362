package usdthttp

import (
	"net/http"
	"time"

	"usdt.local/go-stubs/internal/relay"
	"usdt.local/go-stubs/usdthttp/internal/probes"
)

// Transport returns a transport that sends requests through base, http.DefaultTransport where that is nil, and fires
// net_http:client_request_start and net_http:client_response_received.
func Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	start, end := probes.ClientGate()
	return transports.Wrapped(&transport{base, [2]relay.Gate{transports.Gate(0, start, end)}})
}

type transport struct {
	base  http.RoundTripper
	gates [2]relay.Gate
}

var transports = relay.Of[http.RoundTripper](&transport{}, relay.Code((*transport).RoundTrip))

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if probes.ClientRequestStartEnabled() || probes.ClientResponseReceivedEnabled() {
		return t.traced(r)
	}
	return t.base.RoundTrip(r)
}

// CloseIdleConnections is what http.Client.CloseIdleConnections looks for.
func (t *transport) CloseIdleConnections() {
	if base, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

func (t *transport) traced(r *http.Request) (*http.Response, error) {
	id, start := requests.Add(1), time.Now()
	url := ""
	if r.URL != nil {
		url = r.URL.Redacted()
	}
	probes.ClientRequestStart(r.Method, url, id, r.Header.Get("Traceparent"))
	answer, err := t.base.RoundTrip(r)
	status, bytes := 0, int64(-1)
	if err == nil && answer != nil {
		status, bytes = answer.StatusCode, answer.ContentLength
	}
	probes.ClientResponseReceived(int32(status), id, bytes, int64(time.Since(start)), err)
	return answer, err
}
