package runtime

// usdtStopTime is when the world was stopped, or 0 if no tracer was attached to stw__end then.
var usdtStopTime int64

// usdtOnStatusChange fires the probes of status changes. casgstatus calls it while a tracer is
// attached to one of the probes that share the semaphore of goroutine__start. The runtime uses
// trackingStamp only in goroutines that it samples, so other goroutines can use it for the time at
// which they became runnable.
//
//go:nosplit
func usdtOnStatusChange(gp *g, oldval, newval uint32) {
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

// usdtOnBlock fires goroutine__block.
func usdtOnBlock(gp *g, reason waitReason) {
	usdtGoroutineBlock(gp.goid, reason.String())
}

// usdtOnStopTheWorld fires stw__begin and stores the time for usdtOnStartTheWorld.
func usdtOnStopTheWorld(reason stwReason) {
	if usdtStwEndEnabled() {
		usdtStopTime = nanotime()
	}
	if usdtStwBeginEnabled() {
		usdtStwBegin(reason.String())
	}
}

// usdtOnStartTheWorld fires stw__end.
func usdtOnStartTheWorld() {
	if usdtStwEndEnabled() {
		ns := int64(0)
		if usdtStopTime != 0 {
			ns = nanotime() - usdtStopTime
		}
		usdtStwEnd(ns)
	}
	usdtStopTime = 0
}

// usdtOnSmallAlloc fires heap__alloc for a small object. The bytes that it reports include the free
// slots that the allocator has found with the object and uses without reaching this place.
func usdtOnSmallAlloc(v uintptr, s *mspan) {
	slots := uintptr(0)
	for cache := s.allocCache; cache != 0; cache &= cache - 1 {
		slots++
	}
	if left := uintptr(s.nelems) - uintptr(s.freeindex); slots > left {
		slots = left
	}
	usdtHeapAlloc(uint64(s.elemsize), v, uint64((1+slots)*s.elemsize))
}

// usdtPanicGoroutine is the ID of the goroutine that is in usdtPanicMessage, or 0.
var usdtPanicGoroutine uint64

// usdtPanicMessage returns the message of a panic value. It calls the methods Error and String, as
// the runtime does when a panic ends the program. If such a method panics itself, the message is
// the name of the value's type.
func usdtPanicMessage(e any) (message string) {
	if v, ok := e.(string); ok {
		return v
	}
	message = toRType(efaceOf(&e)._type).string()
	id := getg().goid
	if usdtPanicGoroutine == id {
		return message
	}
	usdtPanicGoroutine = id
	defer func() {
		usdtPanicGoroutine = 0
		recover()
	}()
	switch v := e.(type) {
	case error:
		message = v.Error()
	case stringer:
		message = v.String()
	}
	return message
}
