// Native has probe sites as a toolchain with native probes would emit them: a NOP within a
// function, with the arguments in registers. The test adds the notes.
package main

import (
	"os"
	"strconv"
	"unsafe"
)

// The functions are in assembly, and each contains a site.

func requestStart(method *byte, methodLength uint64, path *byte, pathLength uint64)
func requestEnd(status int32)
func query(text *byte, length uint64)

func main() {
	n, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	for i := 0; i < n; i++ {
		path, text := "/item/"+strconv.Itoa(i), "SELECT "+strconv.Itoa(i)
		method := "GET"
		requestStart(unsafe.StringData(method), uint64(len(method)), unsafe.StringData(path), uint64(len(path)))
		query(unsafe.StringData(text), uint64(len(text)))
		requestEnd(int32(200 + i))
	}
}
