//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A host with another kernel, machine or memory has uname(2) and sysinfo(2)
// answered by its pid 1: a seccomp filter, inherited by sshd and everything below
// it, hands the calls over. That reaches static programs too, which a preloaded
// library does not. So has one with another clock; see vdso.go.

// seccomp's structures, from linux/seccomp.h.
type (
	seccompData struct {
		nr   int32
		arch uint32
		ip   uint64
		args [6]uint64
	}
	seccompNotif struct {
		id    uint64
		pid   uint32
		flags uint32
		data  seccompData
	}
	seccompNotifResp struct {
		id    uint64
		val   int64
		error int32
		flags uint32
	}
)

// pretence is what intercepted calls answer; what is empty stays true.
type pretence struct {
	release, machine string
	memory           int64 // bytes
	clock            int64 // seconds ahead
	vdso             *vdso // with another clock
}

// intercept filters the calls of this thread, and of all processes that it
// starts from now on.
func intercept(p pretence) error {
	for _, s := range []string{p.release, p.machine} {
		if len(s) >= len(unix.Utsname{}.Release) {
			return fmt.Errorf("uname cannot tell %q: too long", s)
		}
	}
	calls := []uint32{unix.SYS_UNAME, unix.SYS_SYSINFO}
	if p.clock != 0 {
		var err error
		if p.vdso, err = ownVDSO(); err != nil {
			return err
		}
		calls = append(calls, clockCalls...)
	}
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}} // the call's number
	for _, call := range calls {
		filter = append(filter,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
	}
	if p.clock != 0 {
		filter = append(filter, timeOfDayFilter...)
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return fmt.Errorf("filter system calls: %w", errno)
	}
	go p.serve(int(fd))
	return nil
}

// serve answers calls until the namespace dies with this process.
func (p pretence) serve(listener int) {
	for {
		var call seccompNotif
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&call))); errno != 0 {
			if errors.Is(errno, unix.EINTR) || errors.Is(errno, unix.ENOENT) { // the caller was killed
				continue
			}
			fmt.Fprintln(os.Stderr, "gofleet-lab: answer system calls:", errno)
			return
		}
		reply := seccompNotifResp{id: call.id}
		if goesOn(call) {
			// A program that is just starting: from now on it asks for the time.
			p.vdso.divert(call.pid)
			reply.flags = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE
		} else if err := p.answer(call); err != nil {
			reply.error = -int32(unix.EFAULT)
		}
		// It fails if the caller died meanwhile, and then nobody waits.
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&reply)))
	}
}

// answer writes what the call asks for into the caller's memory.
func (p pretence) answer(call seccompNotif) error {
	var content []byte
	to := call.data.args[0]
	switch call.data.nr {
	case unix.SYS_CLOCK_GETTIME:
		content, to = p.clockTime(), call.data.args[1]
	case unix.SYS_GETTIMEOFDAY:
		content = p.timeOfDay()
	case unix.SYS_UNAME:
		var u unix.Utsname
		if err := unix.Uname(&u); err != nil {
			return err
		}
		pretend(&u.Release, p.release)
		pretend(&u.Machine, p.machine)
		content = unsafe.Slice((*byte)(unsafe.Pointer(&u)), unsafe.Sizeof(u))
	case unix.SYS_SYSINFO:
		var s unix.Sysinfo_t
		if err := unix.Sysinfo(&s); err != nil {
			return err
		}
		if p.memory > 0 {
			const page = 4096
			s.Unit = page
			setWord(&s.Totalram, p.memory/page)
			setWord(&s.Freeram, p.memory/page/2)
			setWord(&s.Bufferram, p.memory/page/32)
			s.Sharedram, s.Totalswap, s.Freeswap, s.Totalhigh, s.Freehigh = 0, 0, 0, 0, 0
		}
		content = unsafe.Slice((*byte)(unsafe.Pointer(&s)), unsafe.Sizeof(s))
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", call.pid), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer mem.Close()
	_, err = mem.WriteAt(content, int64(to))
	return err
}

func pretend(field *[65]byte, value string) {
	if value != "" {
		*field = [65]byte{}
		copy(field[:], value)
	}
}

// setWord sets a field that is as wide as the machine's words.
func setWord[T uint32 | uint64](field *T, value int64) { *field = T(value) }
