module usdt.local/unmodified

go 1.17
