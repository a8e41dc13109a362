// Libraries uses each library that has a ready-made package, against a server in the same process.
// Each part does the same every time, so that a tracer can check names, values and counts.
package main

import "time"

// timeout bounds every request, so that a broken server ends the program.
const timeout = 10 * time.Second

func main() {
	sendRedisCommands()
	queryPostgres()
	runMongoCommands()
	produceAndFetchRecords()
	publishMessages()
	callAWS()
	callProcedures()
	handleRequests()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// mustFail checks that an error was reported. The tracer checks which.
func mustFail(err error) {
	if err == nil {
		panic("no error")
	}
}
