module usdt.local/go-stubs

go 1.21
