//go:build gc

#include "go_asm.h"
#include "textflag.h"

// What a method is called with, the receiver in AX first, stands where the next one expects it. R12 is nobody's
// (cmd/compile/abi-internal.md, "amd64 architecture").

// Handle while nobody has asked: a jump to that of the handler behind.
TEXT ·relay(SB), NOSPLIT|NOFRAME, $0-0
	CMPL ·asked(SB), $0
	JNE  asked
	MOVQ handler_next(AX), R12
	MOVQ handler_next+8(AX), AX
	MOVQ methods_handle(R12), R12
	JMP  R12

asked:
	MOVQ ·handle(SB), R12
	JMP  R12

// Handle that takes down its receiver and returns nil.
TEXT ·note(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ AX, ·noted(SB)
	XORL AX, AX
	XORL BX, BX
	RET

DATA ·relayAt(SB)/8, $·relay(SB)
GLOBL ·relayAt(SB), NOPTR, $8
DATA ·noteAt(SB)/8, $·note(SB)
GLOBL ·noteAt(SB), NOPTR, $8
