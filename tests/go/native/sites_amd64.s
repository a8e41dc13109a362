#include "textflag.h"

TEXT ·requestStart(SB), NOSPLIT, $0-32
	MOVQ method+0(FP), AX
	MOVQ methodLength+8(FP), BX
	MOVQ path+16(FP), CX
	MOVQ pathLength+24(FP), DI
	BYTE $0x90
	RET

TEXT ·requestEnd(SB), NOSPLIT, $0-4
	MOVL status+0(FP), CX
	BYTE $0x90
	RET

TEXT ·query(SB), NOSPLIT, $0-16
	MOVQ text+0(FP), AX
	MOVQ length+8(FP), BX
	BYTE $0x90
	RET
