//go:build gc

#include "go_asm.h"
#include "textflag.h"

// What a method is called with, the receiver in AX first, stands where the next one expects it. R12 and R13 are nobody's
// (cmd/compile/abi-internal.md, "amd64 architecture").

#define JUMP(gate, method) \
	MOVQ (gate+Gate_First)(AX), R12  \
	MOVQ (gate+Gate_Second)(AX), R13 \
	CMPW (R12), $0                   \
	JNE  own                         \
	CMPW (R13), $0                   \
	JNE  own                         \
	MOVQ 0(AX), R12                  \
	MOVQ 8(AX), AX                   \
	MOVQ (table_code+method)(R12), R12 \
	JMP  R12                         \
own:                                 \
	MOVQ (gate+Gate_Method)(AX), R12 \
	JMP  R12

TEXT ·jump0(SB), NOSPLIT|NOFRAME, $0-0
	JUMP(16, 0)

TEXT ·jump1(SB), NOSPLIT|NOFRAME, $0-0
	JUMP(16+Gate__size, 8)

// A method that takes down its receiver and returns 0.
TEXT ·note(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ AX, ·noted(SB)
	XORL AX, AX
	RET

DATA ·jumps+0(SB)/8, $·jump0(SB)
DATA ·jumps+8(SB)/8, $·jump1(SB)
GLOBL ·jumps(SB), NOPTR, $16
DATA ·noteAt(SB)/8, $·note(SB)
GLOBL ·noteAt(SB), NOPTR, $8
