package usdtnats

import (
	"errors"
	"testing"

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
	handler, message := NewHandler(func(*nats.Msg) {}), &nats.Msg{Subject: "orders"}
	if n := testing.AllocsPerRun(1000, func() { handler(message) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHandler(b *testing.B) {
	var next nats.MsgHandler = func(*nats.Msg) {}
	message := &nats.Msg{Subject: "orders"}
	between := func(message *nats.Msg) { next(message) }
	for name, handler := range map[string]nats.MsgHandler{"between": between, "wrapped": NewHandler(next)} {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				handler(message)
			}
		})
	}
}
