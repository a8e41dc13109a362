package probes

//go:generate usdt-gen probes.d
//go:generate sh -c "usdt-gen doc probes.d > ../../PROBES.md"
