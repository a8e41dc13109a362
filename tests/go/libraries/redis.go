package main

import (
	"context"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"usdt.local/go-stubs/libraries/usdtredis"
)

func sendRedisCommands() {
	server, err := miniredis.Run()
	must(err)
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Protocol: 2, DisableIdentity: true})
	defer client.Close()
	client.AddHook(usdtredis.NewHook())
	ctx := context.Background()
	must(client.Set(ctx, "user:1", "alice", 0).Err())
	must(client.Get(ctx, "user:1").Err())
	mustFail(client.Get(ctx, "user:2").Err())
	pipeline := client.Pipeline()
	pipeline.Incr(ctx, "visits")
	pipeline.Incr(ctx, "visits")
	_, err = pipeline.Exec(ctx)
	must(err)
}
