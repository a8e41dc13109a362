module usdt.local/functions

go 1.18
