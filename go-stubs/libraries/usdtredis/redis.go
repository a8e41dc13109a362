// Package usdtredis provides a hook for go-redis clients that fires static probes (USDT).
//
//	client := redis.NewClient(options)
//	client.AddHook(usdtredis.NewHook())
//
// While no tracer is attached, a command costs two loads and two tests more than with a hook that
// only calls the next one, and allocates nothing.
package usdtredis

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"usdt.local/go-stubs/libraries/usdtredis/internal/probes"
)

// lastCommandID is the ID of the last traced command or pipeline of any client.
var lastCommandID atomic.Uint64

// NewHook returns a hook for redis.Client, redis.ClusterClient and redis.Ring that fires
// redis:command_start and redis:command_done for each command, and redis:pipeline_start and
// redis:pipeline_done for each pipeline and transaction.
func NewHook() redis.Hook { return hook{} }

type hook struct{}

// DialHook returns next: connections have no probes.
func (hook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		if probes.CommandStartEnabled() || probes.CommandDoneEnabled() {
			return process(ctx, command, next)
		}
		return next(ctx, command)
	}
}

func process(ctx context.Context, command redis.Cmder, next redis.ProcessHook) error {
	id, start, name, key := lastCommandID.Add(1), time.Now(), command.FullName(), key(command)
	probes.CommandStart(name, key, id)
	err := next(ctx, command)
	probes.CommandDone(name, key, id, time.Since(start), err)
	return err
}

// key returns the first argument of a command if it is a string.
func key(command redis.Cmder) string {
	if args := command.Args(); len(args) > 1 {
		key, _ := args[1].(string)
		return key
	}
	return ""
}

func (hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		if probes.PipelineStartEnabled() || probes.PipelineDoneEnabled() {
			return processPipeline(ctx, commands, next)
		}
		return next(ctx, commands)
	}
}

func processPipeline(ctx context.Context, commands []redis.Cmder, next redis.ProcessPipelineHook) error {
	id, start := lastCommandID.Add(1), time.Now()
	probes.PipelineStart(len(commands), id)
	err := next(ctx, commands)
	probes.PipelineDone(len(commands), id, time.Since(start), err)
	return err
}
