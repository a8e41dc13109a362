package usdtmongov1

import (
	"context"
	"testing"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/event"
)

func startedEvent(t testing.TB, command bson.D) *event.CommandStartedEvent {
	raw, err := bson.Marshal(command)
	if err != nil {
		t.Fatal(err)
	}
	return &event.CommandStartedEvent{Command: raw, CommandName: command[0].Key, DatabaseName: "shop"}
}

func TestCollectionIsTheValueOfTheCommand(t *testing.T) {
	if got := collection(startedEvent(t, bson.D{{Key: "find", Value: "orders"}})); got != "orders" {
		t.Errorf("got %q", got)
	}
	if got := collection(startedEvent(t, bson.D{{Key: "ping", Value: 1}})); got != "" {
		t.Errorf("got %q for a command without a collection", got)
	}
	if got := collection(&event.CommandStartedEvent{CommandName: "find"}); got != "" {
		t.Errorf("got %q for a command that the driver hides", got)
	}
}

func TestDisabledAddsNoAllocation(t *testing.T) {
	monitor, ctx := NewMonitor(), context.Background()
	start := startedEvent(t, bson.D{{Key: "find", Value: "orders"}})
	done, failure := &event.CommandSucceededEvent{}, &event.CommandFailedEvent{Failure: "failed"}
	if n := testing.AllocsPerRun(1000, func() {
		monitor.Started(ctx, start)
		monitor.Succeeded(ctx, done)
		monitor.Failed(ctx, failure)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCommand(b *testing.B) {
	ctx, start, done := context.Background(), startedEvent(b, bson.D{{Key: "find", Value: "orders"}}), &event.CommandSucceededEvent{}
	between := &event.CommandMonitor{
		Started:   func(context.Context, *event.CommandStartedEvent) {},
		Succeeded: func(context.Context, *event.CommandSucceededEvent) {},
	}
	for name, monitor := range map[string]*event.CommandMonitor{"between": between, "wrapped": NewMonitor()} {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				monitor.Started(ctx, start)
				monitor.Succeeded(ctx, done)
			}
		})
	}
}
