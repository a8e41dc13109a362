//go:build gc

#include "go_asm.h"
#include "textflag.h"

// What a method is called with, the receiver in R0 first, stands where the next one expects it. R19 and R20 are nobody's
// (cmd/compile/abi-internal.md, "arm64 architecture").

#define JUMP(gate, method) \
	MOVD  (gate+Gate_First)(R0), R19  \
	MOVD  (gate+Gate_Second)(R0), R20 \
	MOVHU (R19), R19                  \
	CBNZ  R19, own                    \
	MOVHU (R20), R20                  \
	CBNZ  R20, own                    \
	MOVD  0(R0), R19                  \
	MOVD  8(R0), R0                   \
	MOVD  (table_code+method)(R19), R19 \
	JMP   (R19)                       \
own:                                  \
	MOVD  (gate+Gate_Method)(R0), R19 \
	JMP   (R19)

TEXT ·jump0(SB), NOSPLIT|NOFRAME, $0-0
	JUMP(16, 0)

TEXT ·jump1(SB), NOSPLIT|NOFRAME, $0-0
	JUMP(16+Gate__size, 8)

// A method that takes down its receiver and returns 0.
TEXT ·note(SB), NOSPLIT|NOFRAME, $0-0
	MOVD R0, ·noted(SB)
	MOVD ZR, R0
	RET

DATA ·jumps+0(SB)/8, $·jump0(SB)
DATA ·jumps+8(SB)/8, $·jump1(SB)
GLOBL ·jumps(SB), NOPTR, $16
DATA ·noteAt(SB)/8, $·note(SB)
GLOBL ·noteAt(SB), NOPTR, $8
