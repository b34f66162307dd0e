#include "textflag.h"

// func Lines(address, n uintptr)
TEXT ·Lines(SB), NOSPLIT, $0-16
	MOVQ address+0(FP), AX
	MOVQ n+8(FP), CX
	MOVQ AX, DX
	ANDQ $63, DX
	ADDQ DX, CX // from the start of the first line on
	SUBQ DX, AX
	JMP  check

next:
	PREFETCHT0 (AX)
	ADDQ $64, AX
	SUBQ $64, CX

check:
	CMPQ CX, $0
	JGT  next
	RET
