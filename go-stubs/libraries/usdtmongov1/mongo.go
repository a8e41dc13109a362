// Package usdtmongov1 provides a command monitor for version 1 of the MongoDB driver that fires
// static probes (USDT).
//
//	client, err := mongo.Connect(ctx, options.Client().ApplyURI(uri).SetMonitor(usdtmongov1.NewMonitor()))
//
// The probes are those of package usdtmongo, which is for version 2 of the driver.
//
// While no tracer is attached, a command costs a load and a test at its start and at its end. The
// driver itself creates events for any monitor, which costs more.
package usdtmongov1

import (
	"context"

	"go.mongodb.org/mongo-driver/event"

	"usdt.local/go-stubs/libraries/usdtmongov1/internal/probes"
)

// NewMonitor returns a monitor that fires mongo:command_start and mongo:command_done.
func NewMonitor() *event.CommandMonitor {
	return &event.CommandMonitor{Started: started, Succeeded: succeeded, Failed: failed}
}

func started(_ context.Context, started *event.CommandStartedEvent) {
	if probes.CommandStartEnabled() {
		probes.CommandStart(started.CommandName, started.DatabaseName, collection(started), started.RequestID)
	}
}

// collection returns the value of the element that has the name of the command. It is the name of a
// collection for most commands that have one.
func collection(started *event.CommandStartedEvent) string {
	value, err := started.Command.LookupErr(started.CommandName)
	if err != nil {
		return ""
	}
	name, _ := value.StringValueOK()
	return name
}

func succeeded(_ context.Context, done *event.CommandSucceededEvent) {
	if probes.CommandDoneEnabled() {
		probes.CommandDone(done.CommandName, done.DatabaseName, done.RequestID, done.Duration, nil)
	}
}

// failure is the reason of a failure, which version 2 of the driver has as an error.
type failure string

func (f failure) Error() string { return string(f) }

func failed(_ context.Context, done *event.CommandFailedEvent) {
	if probes.CommandDoneEnabled() {
		probes.CommandDone(done.CommandName, done.DatabaseName, done.RequestID, done.Duration, failure(done.Failure))
	}
}
