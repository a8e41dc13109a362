module usdt.local/functions

go 1.17
