// Package counts counts calls and returns of functions.
package counts

import "sync/atomic"

// Function has the counts of a function.
type Function struct{ calls, returns int64 }

// Called counts a call.
func (f *Function) Called() { atomic.AddInt64(&f.calls, 1) }

// Returned counts a return.
func (f *Function) Returned() { atomic.AddInt64(&f.returns, 1) }

// Count says how often a function was called, and how often it returned.
type Count struct{ Calls, Returns int64 }

// Count returns the counts so far.
func (f *Function) Count() Count {
	return Count{atomic.LoadInt64(&f.calls), atomic.LoadInt64(&f.returns)}
}
