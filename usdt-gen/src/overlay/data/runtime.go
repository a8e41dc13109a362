package runtime

// usdtStopped is when the world was stopped, while somebody is attached to stw__end.
var usdtStopped int64

// usdtStatus is called by casgstatus while somebody is attached to one of the probes that share the gate of
// goroutine__start. The stamp is free in goroutines that the runtime's own sampling has not picked.
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

func usdtBlocks(gp *g, reason waitReason) {
	usdtGoroutineBlock(gp.goid, reason.String())
}

func usdtStopping(reason stwReason) {
	if usdtStwEndEnabled() {
		usdtStopped = nanotime()
	}
	if usdtStwBeginEnabled() {
		usdtStwBegin(reason.String())
	}
}

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

// usdtAllocated reports a small object and, as bytes, the free slots that the allocator found with it.
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

// usdtPanicking is a goroutine that is asking a panic's value for its text.
var usdtPanicking uint64

// usdtPanicText asks a value for its text, as a program that ends would. A value whose method panics itself is not
// asked again.
func usdtPanicText(e any) (text string) {
	if v, ok := e.(string); ok {
		return v
	}
	text = toRType(efaceOf(&e)._type).string()
	id := getg().goid
	if usdtPanicking == id {
		return text
	}
	usdtPanicking = id
	defer func() {
		usdtPanicking = 0
		recover()
	}()
	switch v := e.(type) {
	case error:
		text = v.Error()
	case stringer:
		text = v.String()
	}
	return text
}
