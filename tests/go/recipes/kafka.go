package main

import (
	"context"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
)

func writeAndFetchMessages() {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	must(err)
	defer cluster.Close()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	brokers := cluster.ListenAddrs()
	writer := &kafka.Writer{Addr: kafka.TCP(brokers...), Topic: "orders", BatchSize: 2}
	must(writer.WriteMessages(ctx, kafka.Message{Value: []byte("one")}, kafka.Message{Value: []byte("three")}))
	must(writer.Close())
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: brokers, Topic: "orders", GroupID: "billing", MaxWait: timeout / 20})
	for i := 0; i < 2; i++ {
		message, err := reader.FetchMessage(ctx)
		must(err)
		must(reader.CommitMessages(ctx, message))
	}
	must(reader.Close())
}
