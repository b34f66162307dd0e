#include "textflag.h"

// func Lines(address, n uintptr)
TEXT ·Lines(SB), NOSPLIT, $0-16
	MOVD address+0(FP), R0
	MOVD n+8(FP), R1
	AND  $63, R0, R2
	ADD  R2, R1, R1 // from the start of the first line on
	SUB  R2, R0, R0
	B    check

next:
	PRFM (R0), PLDL1KEEP
	ADD  $64, R0
	SUB  $64, R1

check:
	CMP $0, R1
	BGT next
	RET
