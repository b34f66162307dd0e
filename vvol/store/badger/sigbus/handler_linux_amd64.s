#include "go_asm.h"
#include "textflag.h"

#define BUS_ADRERR     2
#define ucontext_err   192 // of the page fault; bit 1: a write
#define SYS_nanosleep  35
#define SYS_ftruncate  77

// aMillisecond is a struct timespec.
DATA aMillisecond<>+0(SB)/8, $0
DATA aMillisecond<>+8(SB)/8, $1000000
GLOBL aMillisecond<>(SB), RODATA, $16

// handler is called by the kernel on the signal stack, with the signal in DI, siginfo_t in SI
// and ucontext_t in DX; to return is to have the write go again, with all registers as they
// were. It does so when a room has been given up: at once for the first time, before others take
// it, and then after a millisecond each. All else is Go's.
TEXT handler<>(SB), NOSPLIT|NOFRAME, $0
	CMPL 8(SI), $BUS_ADRERR // si_code; others are damaged memory and kill(2)
	JNE  chain
	TESTQ $2, ucontext_err(DX)
	JEQ  chain // what cannot be read is not for want of room
	MOVQ DI, R8
	MOVQ SI, R9
	MOVQ DX, R10
	LEAQ ·process+state_slots(SB), R12
	MOVQ $const_maxRooms, R13 // that are not looked at yet
	XORL R14, R14             // whether one was given up
	XORL BX, BX               // whether it was the first time
	LOCK
	INCL ·process+state_running(SB)

	// SYSCALL changes AX, CX and R11 only.
slot:
	MOVL  slot_tries(R12), AX // tries
	TESTL AX, AX
	JLE   following
	MOVL  $-1, AX
	LOCK
	XADDL AX, slot_tries(R12)
	TESTL AX, AX
	JLE   following
	CMPL  AX, $const_maxTries
	JNE   give
	MOVL  $1, BX

give:
	MOVL  slot_fd(R12), DI
	XORL  SI, SI
	MOVL  $SYS_ftruncate, AX
	SYSCALL
	MOVL  $1, R14

following:
	ADDQ $slot__size, R12
	DECQ R13
	JNE  slot

	LOCK
	DECL  ·process+state_running(SB)
	TESTL R14, R14
	JEQ   unhelped
	TESTL BX, BX
	JNE   again
	LEAQ  aMillisecond<>(SB), DI
	XORL  SI, SI
	MOVL  $SYS_nanosleep, AX
	SYSCALL

again:
	RET

unhelped:
	MOVQ R8, DI
	MOVQ R9, SI
	MOVQ R10, DX

chain:
	MOVQ ·process+state_next(SB), AX
	JMP  AX

// func handlerPC() uintptr
TEXT ·handlerPC(SB), NOSPLIT, $0-8
	LEAQ handler<>(SB), AX
	MOVQ AX, ret+0(FP)
	RET
