package usdtredis

import (
	"context"
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"
)

var errFailed = errors.New("failed")

func fail(context.Context, redis.Cmder) error           { return errFailed }
func failPipeline(context.Context, []redis.Cmder) error { return errFailed }
func succeed(context.Context, redis.Cmder) error        { return nil }

func TestHookReturnsTheResultOfTheNextOne(t *testing.T) {
	ctx, command := context.Background(), redis.NewStringCmd(context.Background(), "get", "user:1")
	for name, run := range map[string]func() error{
		"off":             func() error { return NewHook().ProcessHook(fail)(ctx, command) },
		"traced":          func() error { return process(ctx, command, fail) },
		"pipeline off":    func() error { return NewHook().ProcessPipelineHook(failPipeline)(ctx, []redis.Cmder{command}) },
		"pipeline traced": func() error { return processPipeline(ctx, []redis.Cmder{command}, failPipeline) },
	} {
		if err := run(); err != errFailed {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestKeyIsTheFirstStringArgument(t *testing.T) {
	for want, command := range map[string]redis.Cmder{
		"user:1": redis.NewStringCmd(context.Background(), "get", "user:1"),
		"":       redis.NewStatusCmd(context.Background(), "ping"),
	} {
		if got := key(command); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := key(redis.NewStatusCmd(context.Background(), "select", 3)); got != "" {
		t.Errorf("got %q for a number", got)
	}
}

func TestDisabledAddsNoAllocation(t *testing.T) {
	ctx, command := context.Background(), redis.NewStringCmd(context.Background(), "get", "user:1")
	hook := NewHook().ProcessHook(succeed)
	if n := testing.AllocsPerRun(1000, func() { hook(ctx, command) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHook(b *testing.B) {
	ctx, command := context.Background(), redis.NewStringCmd(context.Background(), "get", "user:1")
	var next redis.ProcessHook = succeed
	between := func(ctx context.Context, command redis.Cmder) error { return next(ctx, command) }
	for name, hook := range map[string]redis.ProcessHook{"between": between, "wrapped": NewHook().ProcessHook(next)} {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				hook(ctx, command)
			}
		})
	}
}
