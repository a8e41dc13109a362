module usdt.local/tests/wrapped

go 1.26.0
