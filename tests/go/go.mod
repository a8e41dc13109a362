module usdt.local/tests

go 1.21
