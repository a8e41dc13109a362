module usdt.local/inject

go 1.21
