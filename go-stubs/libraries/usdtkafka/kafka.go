// Package usdtkafka provides a hook for Kafka clients of franz-go that fires static probes (USDT).
//
//	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.WithHooks(usdtkafka.NewHook()))
//
// While no tracer is attached, a record and a request cost a load and a test for each probe, and
// allocate nothing.
package usdtkafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"usdt.local/go-stubs/libraries/usdtkafka/internal/probes"
)

// Hook fires the probes of records and requests. It implements kgo.HookProduceRecordBuffered,
// kgo.HookProduceRecordUnbuffered, kgo.HookFetchRecordUnbuffered and kgo.HookBrokerE2E.
type Hook struct{}

// NewHook returns a hook for kgo.WithHooks.
func NewHook() *Hook { return &Hook{} }

// acceptedKey is the key of the time at which a client has accepted a record, in its context.
type acceptedKey struct{}

// OnProduceRecordBuffered fires kafka:record_produce.
func (*Hook) OnProduceRecordBuffered(record *kgo.Record) {
	if probes.RecordProduceEnabled() || probes.RecordProducedEnabled() {
		probes.RecordProduce(record.Topic, record.Key, len(record.Value))
		accept(record)
	}
}

// accept notes the time in the context of a record, as tracing hooks of franz-go do.
func accept(record *kgo.Record) {
	ctx := record.Context
	if ctx == nil {
		ctx = context.Background()
	}
	record.Context = context.WithValue(ctx, acceptedKey{}, time.Now())
}

// OnProduceRecordUnbuffered fires kafka:record_produced.
func (*Hook) OnProduceRecordUnbuffered(record *kgo.Record, err error) {
	if probes.RecordProducedEnabled() {
		probes.RecordProduced(record.Topic, record.Partition, record.Offset, sinceAccepted(record), err)
	}
}

// sinceAccepted returns 0 if no tracer was attached when the client accepted the record.
func sinceAccepted(record *kgo.Record) time.Duration {
	if record.Context != nil {
		if accepted, ok := record.Context.Value(acceptedKey{}).(time.Time); ok {
			return time.Since(accepted)
		}
	}
	return 0
}

// OnFetchRecordUnbuffered fires kafka:record_fetched if the application has polled the record.
func (*Hook) OnFetchRecordUnbuffered(record *kgo.Record, polled bool) {
	if polled && probes.RecordFetchedEnabled() {
		probes.RecordFetched(record.Topic, record.Partition, record.Offset, len(record.Value), time.Since(record.Timestamp))
	}
}

// OnBrokerE2E fires kafka:request_done.
func (*Hook) OnBrokerE2E(broker kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	if probes.RequestDoneEnabled() {
		probes.RequestDone(broker.Host, broker.NodeID, int32(key), e2e.DurationE2E(), e2e.Err())
	}
}
