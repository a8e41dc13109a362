// Package usdtaws provides middleware for clients of the AWS SDK that fires static probes (USDT).
//
//	config, err := config.LoadDefaultConfig(ctx)
//	config.APIOptions = append(config.APIOptions, usdtaws.AddMiddleware)
//
// While no tracer is attached, a call costs two loads and two tests more than with middleware that
// only calls the next one.
package usdtaws

import (
	"context"
	"sync/atomic"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"

	"usdt.local/go-stubs/libraries/usdtaws/internal/probes"
)

// lastCallID is the ID of the last traced call of any client.
var lastCallID atomic.Uint64

// AddMiddleware adds middleware that fires aws:call_start and aws:call_done to the stack of a client.
func AddMiddleware(stack *middleware.Stack) error {
	// After the middleware that notes service and operation in the context.
	return stack.Initialize.Add(initialize{}, middleware.After)
}

type initialize struct{}

// ID names the middleware in its stack.
func (initialize) ID() string { return "USDT" }

func (initialize) HandleInitialize(ctx context.Context, input middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	if probes.CallStartEnabled() || probes.CallDoneEnabled() {
		return call(ctx, input, next)
	}
	return next.HandleInitialize(ctx, input)
}

func call(ctx context.Context, input middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	id, start := lastCallID.Add(1), time.Now()
	service, operation := awsmiddleware.GetServiceID(ctx), awsmiddleware.GetOperationName(ctx)
	probes.CallStart(service, operation, awsmiddleware.GetRegion(ctx), id)
	output, metadata, err := next.HandleInitialize(ctx, input)
	probes.CallDone(service, operation, id, time.Since(start), err)
	return output, metadata, err
}
