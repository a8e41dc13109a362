package ops

//go:generate usdt-gen ops.d
