package runtime

// usdtStopped is when the world was stopped, while somebody is attached to stw__end.
var usdtStopped int64

// usdtRunnable is called by casgstatus for a goroutine that can run from now on.
//
//go:nosplit
func usdtRunnable(gp *g, oldval uint32) {
	// The stamp is free in goroutines that the runtime's own sampling has not picked.
	if usdtSchedLatencyEnabled() && !gp.tracking {
		gp.trackingStamp = nanotime()
	}
	if oldval == _Gwaiting && usdtGoroutineUnblockEnabled() {
		by := uint64(0)
		if running := getg().m.curg; running != nil {
			by = running.goid
		}
		usdtGoroutineUnblock(gp.goid, by)
	}
}

// usdtRunning is called by casgstatus for a goroutine that begins to run.
//
//go:nosplit
func usdtRunning(gp *g) {
	usdtGoroutineStart(gp.goid)
	if gp.trackingStamp != 0 && !gp.tracking {
		if usdtSchedLatencyEnabled() {
			usdtSchedLatency(gp.goid, nanotime()-gp.trackingStamp)
		}
		gp.trackingStamp = 0
	}
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

// usdtPanicText asks a value for its text as a program that ends would. A method that panics itself is asked again for
// that panic's value; it ends with the depth.
func usdtPanicText(e any) (text string) {
	if v, ok := e.(string); ok {
		return v
	}
	text = toRType(efaceOf(&e)._type).string()
	depth := 0
	for p := getg()._panic; p != nil; p = p.link {
		depth++
	}
	if depth > 8 {
		return text
	}
	defer func() { recover() }()
	switch v := e.(type) {
	case error:
		text = v.Error()
	case stringer:
		text = v.String()
	}
	return text
}
