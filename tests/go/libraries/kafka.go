package main

import (
	"context"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"usdt.local/go-stubs/libraries/usdtkafka"
)

func produceAndFetchRecords() {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	must(err)
	defer cluster.Close()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(cluster.ListenAddrs()...),
		kgo.ConsumeTopics("orders"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.WithHooks(usdtkafka.NewHook()),
	)
	must(err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for _, value := range []string{"one", "three"} {
		record := &kgo.Record{Topic: "orders", Key: []byte("key"), Value: []byte(value)}
		must(client.ProduceSync(ctx, record).FirstErr())
	}
	for fetched := 0; fetched < 2; {
		fetches := client.PollFetches(ctx)
		must(fetches.Err())
		fetched += fetches.NumRecords()
	}
}
