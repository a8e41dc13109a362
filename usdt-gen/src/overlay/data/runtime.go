package runtime

// usdtStopped is the time at which the world was stopped, or 0 if no tracer is attached to stw__end.
var usdtStopped int64

// usdtStatus fires the probes that share the gate of goroutine__start. casgstatus calls it while a tracer is attached to
// one of them. trackingStamp is unused in goroutines that the runtime's own sampling has not picked.
//
//go:nosplit
func usdtStatus(gp *g, oldval, newval uint32) {
	if newval == _Grunnable {
		if !gp.tracking {
			gp.trackingStamp = nanotime()
		}
		if oldval == _Gwaiting {
			by := uint64(0)
			if running := getg().m.curg; running != nil {
				by = running.goid
			}
			usdtGoroutineUnblock(gp.goid, by)
		}
	} else if newval == _Grunning && oldval == _Grunnable {
		usdtGoroutineStart(gp.goid)
		if gp.trackingStamp != 0 && !gp.tracking {
			usdtSchedLatency(gp.goid, nanotime()-gp.trackingStamp)
			gp.trackingStamp = 0
		}
	}
}

// usdtBlocks fires goroutine__block.
func usdtBlocks(gp *g, reason waitReason) {
	usdtGoroutineBlock(gp.goid, reason.String())
}

// usdtStopping fires stw__begin.
func usdtStopping(reason stwReason) {
	if usdtStwEndEnabled() {
		usdtStopped = nanotime()
	}
	if usdtStwBeginEnabled() {
		usdtStwBegin(reason.String())
	}
}

// usdtStarted fires stw__end.
func usdtStarted() {
	if usdtStwEndEnabled() {
		ns := int64(0)
		if usdtStopped != 0 {
			ns = nanotime() - usdtStopped
		}
		usdtStwEnd(ns)
	}
	usdtStopped = 0
}

// usdtAllocated fires heap__alloc for a small object. The last argument also counts the bytes of the free slots that the
// allocator found together with the object.
func usdtAllocated(v uintptr, s *mspan) {
	slots := uintptr(0)
	for cache := s.allocCache; cache != 0; cache &= cache - 1 {
		slots++
	}
	if left := uintptr(s.nelems) - uintptr(s.freeindex); slots > left {
		slots = left
	}
	usdtHeapAlloc(uint64(s.elemsize), v, uint64((1+slots)*s.elemsize))
}

// usdtPanicking is the ID of a goroutine that is calling a method of its panic value.
var usdtPanicking uint64

// usdtPanicString returns the string of a panic value, as the runtime prints it when the program exits. If the method
// of the value panics itself, it is not called again.
func usdtPanicString(e any) (s string) {
	if v, ok := e.(string); ok {
		return v
	}
	s = toRType(efaceOf(&e)._type).string()
	id := getg().goid
	if usdtPanicking == id {
		return s
	}
	usdtPanicking = id
	defer func() {
		usdtPanicking = 0
		recover()
	}()
	switch v := e.(type) {
	case error:
		s = v.Error()
	case stringer:
		s = v.String()
	}
	return s
}
