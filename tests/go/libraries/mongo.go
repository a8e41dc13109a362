package main

import (
	"context"
	"encoding/binary"
	"io"
	"net"

	bsonv1 "go.mongodb.org/mongo-driver/bson"
	mongov1 "go.mongodb.org/mongo-driver/mongo"
	optionsv1 "go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"usdt.local/go-stubs/libraries/usdtmongo"
	"usdt.local/go-stubs/libraries/usdtmongov1"
)

func runMongoCommands() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	defer listener.Close()
	go serveMongo(listener)
	uri := "mongodb://" + listener.Addr().String()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()

	client, err := mongo.Connect(options.Client().ApplyURI(uri).SetMonitor(usdtmongo.NewMonitor()))
	must(err)
	must(client.Database("shop").Collection("orders").FindOne(ctx, bson.D{}).Err())
	mustFail(client.Database("shop").RunCommand(ctx, bson.D{{Key: "refuse", Value: 1}}).Err())
	must(client.Disconnect(ctx))

	old, err := mongov1.Connect(ctx, optionsv1.Client().ApplyURI(uri).SetMonitor(usdtmongov1.NewMonitor()))
	must(err)
	must(old.Database("archive").Collection("orders").FindOne(ctx, bsonv1.D{}).Err())
	mustFail(old.Database("archive").RunCommand(ctx, bsonv1.D{{Key: "refuse", Value: 1}}).Err())
	must(old.Disconnect(ctx))
}

func serveMongo(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			for answerMongo(conn) == nil {
			}
		}()
	}
}

// The messages of the wire protocol, by operation code.
const (
	opReply = 1
	opQuery = 2004
	opMsg   = 2013
)

// answerMongo reads a message and writes the reply. A client opens its connections with a query,
// and sends commands as messages.
func answerMongo(conn io.ReadWriter) error {
	header := make([]byte, 16)
	if _, err := io.ReadFull(conn, header); err != nil {
		return err
	}
	body := make([]byte, binary.LittleEndian.Uint32(header)-16)
	if _, err := io.ReadFull(conn, body); err != nil {
		return err
	}
	var command bson.Raw
	var reply []byte
	operation := uint32(opMsg)
	if binary.LittleEndian.Uint32(header[12:]) == opQuery {
		// Flags, a name that ends with a zero, and two numbers.
		name := 4
		for body[name] != 0 {
			name++
		}
		command = body[name+9:]
		// Flags, a cursor, a position, and the number of documents.
		operation, reply = opReply, append(make([]byte, 16), 1, 0, 0, 0)
	} else {
		// Flags, and the kind of the section.
		command = body[5:]
		reply = make([]byte, 5)
	}
	document, err := bson.Marshal(mongoReply(command))
	if err != nil {
		return err
	}
	reply = append(reply, document...)
	out := binary.LittleEndian.AppendUint32(nil, uint32(16+len(reply)))
	out = append(out, 0, 0, 0, 0)
	out = append(out, header[4:8]...)
	out = binary.LittleEndian.AppendUint32(out, operation)
	_, err = conn.Write(append(out, reply...))
	return err
}

func mongoReply(command bson.Raw) bson.D {
	first, err := command.IndexErr(0)
	must(err)
	switch first.Key() {
	case "hello", "isMaster", "ismaster":
		return bson.D{
			{Key: "ok", Value: 1}, {Key: "isWritablePrimary", Value: true}, {Key: "ismaster", Value: true}, {Key: "helloOk", Value: true},
			{Key: "minWireVersion", Value: 0}, {Key: "maxWireVersion", Value: 21},
			{Key: "maxBsonObjectSize", Value: 16 << 20}, {Key: "maxMessageSizeBytes", Value: 48000000}, {Key: "maxWriteBatchSize", Value: 100000},
		}
	case "find":
		cursor := bson.D{{Key: "id", Value: int64(0)}, {Key: "ns", Value: "shop.orders"}, {Key: "firstBatch", Value: bson.A{bson.D{{Key: "n", Value: 1}}}}}
		return bson.D{{Key: "ok", Value: 1}, {Key: "cursor", Value: cursor}}
	}
	return bson.D{{Key: "ok", Value: 0}, {Key: "code", Value: 59}, {Key: "codeName", Value: "CommandNotFound"}, {Key: "errmsg", Value: "no such command"}}
}
