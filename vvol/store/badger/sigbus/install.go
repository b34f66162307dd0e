//go:build linux && (amd64 || arm64)

package sigbus

import (
	"fmt"
	"sync"
	"syscall"
	"unsafe"
)

// action is the kernel's struct sigaction.
type action struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// handlerPC is the address of the handler.
func handlerPC() uintptr

// install puts the handler before Go's, whose flags, mask and signal stack it uses.
var install = sync.OnceValue(func() error {
	var a action
	if err := sigaction(nil, &a); err != nil {
		return err
	}
	process.next, a.handler = a.handler, handlerPC()
	return sigaction(&a, nil)
})

func sigaction(set, old *action) error {
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(syscall.SIGBUS),
		uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), unsafe.Sizeof(old.mask), 0, 0)
	if errno != 0 {
		return fmt.Errorf("sigaction SIGBUS: %w", errno)
	}
	return nil
}
