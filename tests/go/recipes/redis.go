package main

import (
	"context"
	"errors"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

func useRedis() {
	server, err := miniredis.Run()
	must(err)
	defer server.Close()
	// One connection, whose first commands are the same in every run.
	client := redis.NewClient(&redis.Options{
		Addr: server.Addr(), PoolSize: 1, Protocol: 2, DisableIdentity: true, MaxRetries: -1,
	})
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	must(client.Set(ctx, "name", "value", 0).Err())
	must(client.Get(ctx, "name").Err())
	if err := client.Get(ctx, "missing").Err(); !errors.Is(err, redis.Nil) {
		mustFail(nil)
	}
	_, err = client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Incr(ctx, "counter")
		pipe.Incr(ctx, "counter")
		return nil
	})
	must(err)
}
