package usdtnats

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestHandlerCallsTheNextOne(t *testing.T) {
	var got []string
	next := func(message *nats.Msg) { got = append(got, message.Subject) }
	message := &nats.Msg{Subject: "orders"}
	NewHandler(next)(message)
	handle(message, next)
	if len(got) != 2 || got[0] != "orders" || got[1] != "orders" {
		t.Errorf("got %q", got)
	}
}

func TestRequestReturnsTheResult(t *testing.T) {
	reply, errFailed := &nats.Msg{}, errors.New("failed")
	got, err := traceRequest("orders", func() (*nats.Msg, error) { return reply, errFailed })
	if got != reply || err != errFailed {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestErrorsAreThoseOfTheConnection(t *testing.T) {
	conn := NewConn(&nats.Conn{})
	if err := conn.PublishMsg(nil); err != nats.ErrInvalidMsg {
		t.Errorf("got %v", err)
	}
	if err := conn.Publish("", nil); err != nats.ErrBadSubject {
		t.Errorf("got %v", err)
	}
}

func TestDisabledAddsNoAllocation(t *testing.T) {
	handler, message, conn := NewHandler(func(*nats.Msg) {}), &nats.Msg{Subject: "orders"}, NewConn(nil)
	if n := testing.AllocsPerRun(1000, func() {
		handler(message)
		conn.Publish("orders", nil)
		conn.PublishMsg(message)
		conn.PublishRequest("orders", "reply", nil)
		conn.Request("orders", nil, time.Second)
		conn.RequestMsg(message, time.Second)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHandler(b *testing.B) {
	passThrough := func(next nats.MsgHandler) nats.MsgHandler {
		return func(message *nats.Msg) { next(message) }
	}
	message := &nats.Msg{Subject: "orders"}
	// Called through a map, so that the compiler does not know the next handler.
	for name, wrap := range map[string]func(nats.MsgHandler) nats.MsgHandler{"between": passThrough, "wrapped": NewHandler} {
		handler := wrap(func(*nats.Msg) {})
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				handler(message)
			}
		})
	}
}

// conn has the methods of nats.Conn that the package wraps.
type conn interface {
	Publish(string, []byte) error
	Request(string, []byte, time.Duration) (*nats.Msg, error)
}

// passThrough only calls the connection.
type passThrough struct{ *nats.Conn }

func (c *passThrough) Publish(subject string, data []byte) error {
	return c.Conn.Publish(subject, data)
}
func (c *passThrough) Request(subject string, data []byte, timeout time.Duration) (*nats.Msg, error) {
	return c.Conn.Request(subject, data, timeout)
}

// The methods of a nil connection return an error at once.
var conns = map[string]conn{"between": &passThrough{}, "wrapped": NewConn(nil)}

func BenchmarkPublish(b *testing.B) {
	for name, conn := range conns {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				conn.Publish("orders", nil)
			}
		})
	}
}

func BenchmarkRequest(b *testing.B) {
	for name, conn := range conns {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				conn.Request("orders", nil, time.Second)
			}
		})
	}
}
