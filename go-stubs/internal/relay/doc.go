// Package relay hands calls of an interface's methods on to the value behind a wrapper by a jump, arguments and return
// address as they are.
//
// A method in Go that passes its arguments on copies those that are not in registers, such as a record of log/slog with its
// 288 bytes, and has a frame of its own; while nobody traces, that is all that wrappers do. The compiler jumps, too,
// but only to methods promoted from an embedded pointer.
//
// A wrapper begins with the interface that it wraps and two gates, those of its type's first two methods by name:
//
//	type handler struct {
//		next  http.Handler
//		gates [2]relay.Gate
//	}
package relay

// Gate is when a method is more than a jump to the same one of the value behind the wrapper: while one of the words is not 0.
type Gate struct {
	// Neither is nil.
	First, Second *uint16
	// Method is the code that is called then.
	Method uintptr
}
