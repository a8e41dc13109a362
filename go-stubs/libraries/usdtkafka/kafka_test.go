package usdtkafka

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	_ kgo.HookProduceRecordBuffered   = (*Hook)(nil)
	_ kgo.HookProduceRecordUnbuffered = (*Hook)(nil)
	_ kgo.HookFetchRecordUnbuffered   = (*Hook)(nil)
	_ kgo.HookBrokerE2E               = (*Hook)(nil)
)

func TestContextHoldsTheTimeOfAcceptance(t *testing.T) {
	record := &kgo.Record{Topic: "orders"}
	if since := sinceAccepted(record); since != 0 {
		t.Errorf("got %v for a record without a context", since)
	}
	accept(record)
	time.Sleep(time.Millisecond)
	if since := sinceAccepted(record); since < time.Millisecond {
		t.Errorf("got %v", since)
	}
}

func TestDisabledAddsNoAllocation(t *testing.T) {
	hook, record := NewHook(), &kgo.Record{Topic: "orders"}
	if n := testing.AllocsPerRun(1000, func() {
		hook.OnProduceRecordBuffered(record)
		hook.OnProduceRecordUnbuffered(record, nil)
		hook.OnFetchRecordUnbuffered(record, true)
		hook.OnBrokerE2E(kgo.BrokerMetadata{}, 0, kgo.BrokerE2E{})
	}); n != 0 || record.Context != nil {
		t.Errorf("%v allocations, context %v", n, record.Context)
	}
}

// hook is what a client of franz-go calls.
type hook interface {
	kgo.HookProduceRecordBuffered
	kgo.HookProduceRecordUnbuffered
	kgo.HookFetchRecordUnbuffered
	kgo.HookBrokerE2E
}

// nothing is a hook that does nothing: the minimum cost of any hook.
type nothing struct{}

func (nothing) OnProduceRecordBuffered(*kgo.Record)                  {}
func (nothing) OnProduceRecordUnbuffered(*kgo.Record, error)         {}
func (nothing) OnFetchRecordUnbuffered(*kgo.Record, bool)            {}
func (nothing) OnBrokerE2E(kgo.BrokerMetadata, int16, kgo.BrokerE2E) {}

var hooks = map[string]hook{"between": nothing{}, "wrapped": NewHook()}

func BenchmarkProduce(b *testing.B) {
	record := &kgo.Record{Topic: "orders"}
	for name, hook := range hooks {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				hook.OnProduceRecordBuffered(record)
				hook.OnProduceRecordUnbuffered(record, nil)
			}
		})
	}
}

func BenchmarkFetch(b *testing.B) {
	record := &kgo.Record{Topic: "orders"}
	for name, hook := range hooks {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				hook.OnFetchRecordUnbuffered(record, true)
			}
		})
	}
}

func BenchmarkRequest(b *testing.B) {
	for name, hook := range hooks {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				hook.OnBrokerE2E(kgo.BrokerMetadata{}, 0, kgo.BrokerE2E{})
			}
		})
	}
}
