// Package usdtnats provides a connection and message handlers for NATS that fire static probes
// (USDT).
//
//	conn := usdtnats.NewConn(natsConn)
//	conn.Publish("orders", data)
//	conn.Subscribe("orders", usdtnats.NewHandler(handle))
//
// While no tracer is attached, a message costs a load and a test for each probe, and allocates
// nothing.
package usdtnats

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"usdt.local/go-stubs/libraries/usdtnats/internal/probes"
)

// lastID is the ID of the last traced request or message.
var lastID atomic.Uint64

// Conn is a connection whose methods for publishing and requesting fire probes. The others are
// those of nats.Conn.
type Conn struct{ *nats.Conn }

// NewConn returns a connection that publishes through conn.
func NewConn(conn *nats.Conn) *Conn { return &Conn{conn} }

// Publish fires nats:publish and publishes a message.
func (c *Conn) Publish(subject string, data []byte) error {
	probes.Publish(subject, "", len(data))
	return c.Conn.Publish(subject, data)
}

// PublishMsg fires nats:publish and publishes a message.
func (c *Conn) PublishMsg(message *nats.Msg) error {
	if probes.PublishEnabled() && message != nil {
		probes.Publish(message.Subject, message.Reply, len(message.Data))
	}
	return c.Conn.PublishMsg(message)
}

// PublishRequest fires nats:publish and publishes a message with a subject for the reply.
func (c *Conn) PublishRequest(subject, reply string, data []byte) error {
	probes.Publish(subject, reply, len(data))
	return c.Conn.PublishRequest(subject, reply, data)
}

// Request fires nats:request_start, sends a request, and fires nats:request_done.
func (c *Conn) Request(subject string, data []byte, timeout time.Duration) (*nats.Msg, error) {
	if requestEnabled() {
		return traceRequest(subject, func() (*nats.Msg, error) { return c.Conn.Request(subject, data, timeout) })
	}
	return c.Conn.Request(subject, data, timeout)
}

// RequestMsg fires nats:request_start, sends a request, and fires nats:request_done.
func (c *Conn) RequestMsg(message *nats.Msg, timeout time.Duration) (*nats.Msg, error) {
	if requestEnabled() && message != nil {
		return traceRequest(message.Subject, func() (*nats.Msg, error) { return c.Conn.RequestMsg(message, timeout) })
	}
	return c.Conn.RequestMsg(message, timeout)
}

// RequestWithContext fires nats:request_start, sends a request, and fires nats:request_done.
func (c *Conn) RequestWithContext(ctx context.Context, subject string, data []byte) (*nats.Msg, error) {
	if requestEnabled() {
		return traceRequest(subject, func() (*nats.Msg, error) { return c.Conn.RequestWithContext(ctx, subject, data) })
	}
	return c.Conn.RequestWithContext(ctx, subject, data)
}

// RequestMsgWithContext fires nats:request_start, sends a request, and fires nats:request_done.
func (c *Conn) RequestMsgWithContext(ctx context.Context, message *nats.Msg) (*nats.Msg, error) {
	if requestEnabled() && message != nil {
		return traceRequest(message.Subject, func() (*nats.Msg, error) { return c.Conn.RequestMsgWithContext(ctx, message) })
	}
	return c.Conn.RequestMsgWithContext(ctx, message)
}

func requestEnabled() bool { return probes.RequestStartEnabled() || probes.RequestDoneEnabled() }

func traceRequest(subject string, send func() (*nats.Msg, error)) (*nats.Msg, error) {
	id, start := lastID.Add(1), time.Now()
	probes.RequestStart(subject, id)
	reply, err := send()
	probes.RequestDone(subject, id, time.Since(start), err)
	return reply, err
}

// NewHandler returns a handler that fires nats:message_start, calls next, and fires
// nats:message_done when next returns or panics.
func NewHandler(next nats.MsgHandler) nats.MsgHandler {
	return func(message *nats.Msg) {
		if probes.MessageStartEnabled() || probes.MessageDoneEnabled() {
			handle(message, next)
			return
		}
		next(message)
	}
}

func handle(message *nats.Msg, next nats.MsgHandler) {
	id, start, subject := lastID.Add(1), time.Now(), message.Subject
	probes.MessageStart(subject, id, len(message.Data))
	defer func() { probes.MessageDone(subject, id, time.Since(start)) }()
	next(message)
}
