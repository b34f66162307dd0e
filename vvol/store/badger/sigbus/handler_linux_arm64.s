#include "go_asm.h"
#include "textflag.h"

#define BUS_ADRERR       2
#define ucontext_records 464 // behind the registers: magic u32, size u32, content; the last is zeros
#define ESR_MAGIC        0x45535201
#define SYS_ftruncate  46
#define SYS_nanosleep  101

// aMillisecond is a struct timespec.
DATA aMillisecond<>+0(SB)/8, $0
DATA aMillisecond<>+8(SB)/8, $1000000
GLOBL aMillisecond<>(SB), RODATA, $16

// handler is called by the kernel on the signal stack, with the signal in R0, siginfo_t in R1
// and ucontext_t in R2; to return is to have the write go again, with all registers as they
// were. It does so when a room has been given up: at once for the first time, before others take
// it, and then after a millisecond each. All else is Go's.
// R28, where Go's handler looks for g, stays as it is.
TEXT handler<>(SB), NOSPLIT|NOFRAME, $0
	MOVW 8(R1), R3 // si_code; others are damaged memory and kill(2)
	CMPW $BUS_ADRERR, R3
	BNE  chain
	ADD  $ucontext_records, R2, R3

record:
	MOVWU 4(R3), R5
	CBZ   R5, write // the kernel does not tell
	MOVWU (R3), R4
	MOVD  $ESR_MAGIC, R6
	CMP   R6, R4
	BEQ   syndrome
	ADD   R5, R3, R3
	B     record

syndrome:
	MOVD 8(R3), R4
	TBZ  $6, R4, chain // WnR: what cannot be read is not for want of room

write:
	MOVD R0, R9
	MOVD R1, R10
	MOVD R2, R11
	MOVD $·process+state_slots(SB), R12
	MOVD $const_maxRooms, R13 // that are not looked at yet
	MOVD $0, R14              // whether one was given up
	MOVD $0, R16              // whether it was the first time
	MOVD $·process+state_running(SB), R15

begin:
	LDAXRW (R15), R3
	ADDW   $1, R3, R3
	STLXRW R3, (R15), R4
	CBNZW  R4, begin
	DMB    $11 // inner shareable, all accesses

	// SVC changes R0 only.
slot:
	ADD $slot_tries, R12, R5

try:
	LDAXRW (R5), R3
	CMPW   $0, R3
	BLE    following
	MOVW   R3, R7
	SUBW   $1, R3, R3
	STLXRW R3, (R5), R4
	CBNZW  R4, try
	CMPW   $const_maxTries, R7
	BNE    give
	MOVD   $1, R16

give:
	MOVW   slot_fd(R12), R0
	MOVD   $0, R1
	MOVD   $SYS_ftruncate, R8
	SVC
	MOVD   $1, R14

following:
	ADD  $slot__size, R12, R12
	SUB  $1, R13, R13
	CBNZ R13, slot

end:
	LDAXRW (R15), R3
	SUBW   $1, R3, R3
	STLXRW R3, (R15), R4
	CBNZW  R4, end
	CBZ    R14, unhelped
	CBNZ   R16, again
	MOVD   $aMillisecond<>(SB), R0
	MOVD   $0, R1
	MOVD   $SYS_nanosleep, R8
	SVC

again:
	RET

unhelped:
	MOVD R9, R0
	MOVD R10, R1
	MOVD R11, R2

chain:
	MOVD $·process+state_next(SB), R3
	MOVD (R3), R3
	B    (R3)

// func handlerPC() uintptr
TEXT ·handlerPC(SB), NOSPLIT, $0-8
	MOVD $handler<>(SB), R0
	MOVD R0, ret+0(FP)
	RET
