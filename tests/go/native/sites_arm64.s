#include "textflag.h"

TEXT ·requestStart(SB), NOSPLIT, $0-32
	MOVD method+0(FP), R0
	MOVD methodLength+8(FP), R1
	MOVD path+16(FP), R2
	MOVD pathLength+24(FP), R3
	NOOP
	RET

TEXT ·requestEnd(SB), NOSPLIT, $0-4
	MOVW status+0(FP), R2
	NOOP
	RET

TEXT ·query(SB), NOSPLIT, $0-16
	MOVD text+0(FP), R0
	MOVD length+8(FP), R1
	NOOP
	RET
