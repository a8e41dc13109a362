//go:build gc

#include "go_asm.h"
#include "textflag.h"

// What a method is called with, the receiver in R0 first, stands where the next one expects it. R19 is nobody's
// (cmd/compile/abi-internal.md, "arm64 architecture").

// Handle while nobody has asked: a jump to that of the handler behind.
TEXT ·relay(SB), NOSPLIT|NOFRAME, $0-0
	MOVWU ·asked(SB), R19
	CBNZ  R19, asked
	MOVD  handler_next(R0), R19
	MOVD  (handler_next+8)(R0), R0
	MOVD  methods_handle(R19), R19
	JMP   (R19)

asked:
	MOVD ·handle(SB), R19
	JMP  (R19)

// Handle that takes down its receiver and returns nil.
TEXT ·note(SB), NOSPLIT|NOFRAME, $0-0
	MOVD R0, ·noted(SB)
	MOVD ZR, R0
	MOVD ZR, R1
	RET

DATA ·relayAt(SB)/8, $·relay(SB)
GLOBL ·relayAt(SB), NOPTR, $8
DATA ·noteAt(SB)/8, $·note(SB)
GLOBL ·noteAt(SB), NOPTR, $8
