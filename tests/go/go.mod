module usdt.local/tests

go 1.21

require usdt.local/go-stubs v0.0.0

replace usdt.local/go-stubs => ../../go-stubs
