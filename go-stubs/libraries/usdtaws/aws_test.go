package usdtaws

import (
	"context"
	"errors"
	"testing"

	"github.com/aws/smithy-go/middleware"
)

// handler returns its result.
type handler struct{ err error }

func (h handler) HandleInitialize(context.Context, middleware.InitializeInput) (middleware.InitializeOutput, middleware.Metadata, error) {
	return middleware.InitializeOutput{Result: "result"}, middleware.Metadata{}, h.err
}

func TestMiddlewareReturnsTheResultOfTheNextOne(t *testing.T) {
	errFailed := errors.New("failed")
	for name, run := range map[string]func(context.Context, middleware.InitializeInput, middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error){
		"off": initialize{}.HandleInitialize, "traced": call,
	} {
		output, _, err := run(context.Background(), middleware.InitializeInput{}, handler{errFailed})
		if output.Result != "result" || err != errFailed {
			t.Errorf("%s: got %v, %v", name, output, err)
		}
	}
}

func TestMiddlewareIsPartOfTheStack(t *testing.T) {
	stack := middleware.NewStack("test", func() interface{} { return nil })
	if err := AddMiddleware(stack); err != nil {
		t.Fatal(err)
	}
	if _, ok := stack.Initialize.Get("USDT"); !ok {
		t.Error("not in the stack")
	}
}

// passThrough is middleware that only calls the next one.
type passThrough struct{}

func (passThrough) ID() string { return "pass-through" }
func (passThrough) HandleInitialize(ctx context.Context, input middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	return next.HandleInitialize(ctx, input)
}

var (
	middlewares = map[string]middleware.InitializeMiddleware{"between": passThrough{}, "wrapped": initialize{}}
	input       middleware.InitializeInput
)

func TestDisabledAddsNoAllocation(t *testing.T) {
	ctx, next := context.Background(), handler{}
	run := func(name string) float64 {
		middleware := middlewares[name]
		return testing.AllocsPerRun(1000, func() { middleware.HandleInitialize(ctx, input, next) })
	}
	if got, want := run("wrapped"), run("between"); got != want {
		t.Errorf("%v allocations, want %v", got, want)
	}
}

func BenchmarkCall(b *testing.B) {
	ctx, next := context.Background(), handler{}
	for name, middleware := range middlewares {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				middleware.HandleInitialize(ctx, input, next)
			}
		})
	}
}
