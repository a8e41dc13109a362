// Package sum adds bytes, in C.
package sum

// static unsigned sum(const unsigned char *data, int size) {
//	unsigned total = 0;
//	for (int i = 0; i < size; i++) total += data[i];
//	return total;
// }
import "C"

import "unsafe"

// Bytes returns the sum of all bytes.
func Bytes(data []byte) uint32 {
	if len(data) == 0 {
		return 0
	}
	return uint32(C.sum((*C.uchar)(unsafe.Pointer(&data[0])), C.int(len(data))))
}
