//go:build !gc || !(amd64 || arm64)

package relay

// Table leaves wrappers as they are.
type Table[I any] struct{}

// Of makes a table.
func Of[I any](I, ...uintptr) Table[I] { return Table[I]{} }

// Jumps reports whether wrappers of this table jump.
func (*Table[I]) Jumps() bool { return false }

// Gate is that of a method.
func (*Table[I]) Gate(int, *uint16, *uint16) Gate { return Gate{} }

// Wrapped is the wrapper.
func (*Table[I]) Wrapped(wrapper I) I { return wrapper }

// Code is not asked for.
func Code[F any](F) uintptr { return 0 }
