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

func succeedPipeline(context.Context, []redis.Cmder) error { return nil }

func TestDisabledAddsNoAllocation(t *testing.T) {
	ctx, command := context.Background(), redis.NewStringCmd(context.Background(), "get", "user:1")
	commands := []redis.Cmder{command}
	process, pipeline := NewHook().ProcessHook(succeed), NewHook().ProcessPipelineHook(succeedPipeline)
	if n := testing.AllocsPerRun(1000, func() {
		process(ctx, command)
		pipeline(ctx, commands)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// passThrough is a hook that only calls the next one.
type passThrough struct{}

func (passThrough) DialHook(next redis.DialHook) redis.DialHook { return next }
func (passThrough) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error { return next(ctx, command) }
}
func (passThrough) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error { return next(ctx, commands) }
}

var hooks = map[string]redis.Hook{"between": passThrough{}, "wrapped": NewHook()}

func BenchmarkCommand(b *testing.B) {
	ctx, command := context.Background(), redis.NewStringCmd(context.Background(), "get", "user:1")
	for name, hook := range hooks {
		process := hook.ProcessHook(succeed)
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				process(ctx, command)
			}
		})
	}
}

func BenchmarkPipeline(b *testing.B) {
	ctx, commands := context.Background(), []redis.Cmder{redis.NewStringCmd(context.Background(), "get", "user:1")}
	for name, hook := range hooks {
		process := hook.ProcessPipelineHook(succeedPipeline)
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				process(ctx, commands)
			}
		})
	}
}
