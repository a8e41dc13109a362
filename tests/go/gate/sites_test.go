package gate

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"
	"unsafe"

	"usdt.local/tests/probes"
)

// semaphoreAddresses returns the addresses of all semaphores of this program, which it reads from
// the notes. It returns none if the program is not sealed, or if it is
// position-independent.
func semaphoreAddresses(t *testing.T) (addresses []uint64) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	section := file.Section(".note.stapsdt")
	if section == nil || file.Type != elf.ET_EXEC {
		return nil
	}
	data, err := section.Data()
	if err != nil {
		t.Fatal(err)
	}
	for order := file.ByteOrder; len(data) > 0; {
		const header, name, word = 12, len("stapsdt\x00"), 8
		size := int(order.Uint32(data[4:]))
		semaphore := binary.LittleEndian.Uint64(data[header+name+2*word:])
		addresses = append(addresses, semaphore)
		data = data[header+name+(size+3)&^3:]
	}
	return addresses
}

// The test increments the semaphores as a tracer would, so it also runs on machines without a
// tracer.
func TestEverySiteRuns(t *testing.T) {
	addresses := semaphoreAddresses(t)
	if len(addresses) == 0 {
		t.Skip("not sealed")
	}
	addToSemaphores := func(n int) {
		for _, address := range addresses {
			*(*uint16)(pointerTo(address)) += uint16(n)
		}
	}
	addToSemaphores(1)
	defer addToSemaphores(-1)
	if !probes.HitEnabled() || !probes.TwelveEnabled() || !probes.NothingEnabled() {
		t.Fatal("the semaphores are incremented, but probes are disabled")
	}
	var wait sync.WaitGroup
	for id := 0; id < 8; id++ {
		wait.Add(1)
		go func(id int) {
			defer wait.Done()
			fireAtEveryDepth(t, id, 200)
		}(id)
	}
	wait.Wait()
}

// pointerTo returns a pointer to an address in this program's data.
func pointerTo(address uint64) unsafe.Pointer {
	pointer := uintptr(address)
	return *(*unsafe.Pointer)(unsafe.Pointer(&pointer))
}

// fireAtEveryDepth fires every probe and calls itself until depth is 0, so the stack grows. It
// checks that variables, which the compiler may keep in registers, have the same values afterwards.
func fireAtEveryDepth(t *testing.T, id, depth int) {
	var frame [256]byte
	a, b, c, x, y := id*3, depth*5, id^depth, float64(id)+0.5, float64(depth)*1.25
	for i := range frame {
		frame[i] = byte(i + a)
	}
	probes.Hit(uint64(id), uint64(depth), "text")
	probes.Types(-1, -2, -3, -4, -5, 6, 7, 8)
	probes.MoreTypes(uint64(a), float32(x), y, true, "a C string", frame[:], errors.New("an error"), unsafe.Pointer(&frame))
	probes.Twelve(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, int32(depth))
	probes.Nothing()
	probes.OtherProviderHit(int32(a))
	probes.Keywords(1, 2, 3, 4, 5, 6, 7)
	if a != id*3 || b != depth*5 || c != id^depth || x != float64(id)+0.5 || y != float64(depth)*1.25 {
		t.Errorf("at depth %d: a probe changed a variable: %d %d %d %v %v", depth, a, b, c, x, y)
	}
	for i := range frame {
		if frame[i] != byte(i+a) {
			t.Fatalf("at depth %d: a probe changed byte %d of the frame", depth, i)
		}
	}
	if depth%50 == 0 {
		runtime.GC()
	}
	if depth > 0 {
		fireAtEveryDepth(t, id, depth-1)
	}
}
