//go:build linux

package lab

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Programs read the clock without asking the kernel: from the vDSO, which it
// maps into each of them. A host with another clock therefore has the calls that
// programs make when they start held up, and their vDSO's functions overwritten
// with plain system calls, which are then answered as all others.

// clockCalls are calls that are handed over for another clock: those that
// programs make once, when they start, Go's own and those of the C libraries,
// and that about the time of day.
var clockCalls = []uint32{unix.SYS_SCHED_GETAFFINITY, unix.SYS_SET_TID_ADDRESS, unix.SYS_GETTIMEOFDAY}

// timeOfDayFilter hands clock_gettime over where it is about the time of day;
// it lets everything else fall through.
var timeOfDayFilter = []unix.SockFilter{
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_CLOCK_GETTIME, Jf: 3},
	{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: uint32(unsafe.Offsetof(seccompData{}.args))},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.CLOCK_REALTIME, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
}

// goesOn tells whether a call is not answered, only seen.
func goesOn(call seccompNotif) bool {
	return call.data.nr == unix.SYS_SCHED_GETAFFINITY || call.data.nr == unix.SYS_SET_TID_ADDRESS
}

// vdso says what to write over the vDSO of this machine, by offset.
type vdso struct {
	stubs map[int64][]byte
}

// ownVDSO reads that of this process: all processes have the same.
func ownVDSO() (*vdso, error) {
	begin, end, err := findVDSO("self")
	if err != nil {
		return nil, err
	}
	image := make([]byte, end-begin)
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		return nil, err
	}
	defer mem.Close()
	if _, err := mem.ReadAt(image, begin); err != nil {
		return nil, fmt.Errorf("read the vDSO: %w", err)
	}
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, fmt.Errorf("read the vDSO: %w", err)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return nil, fmt.Errorf("read the vDSO: %w", err)
	}
	v := &vdso{stubs: map[int64][]byte{}}
	for _, s := range symbols {
		name := strings.TrimPrefix(strings.TrimPrefix(s.Name, "__vdso_"), "__kernel_")
		switch name {
		case "clock_gettime":
			v.stubs[int64(s.Value)] = systemCall(unix.SYS_CLOCK_GETTIME)
		case "gettimeofday":
			v.stubs[int64(s.Value)] = systemCall(unix.SYS_GETTIMEOFDAY)
		}
	}
	if len(v.stubs) == 0 {
		return nil, errors.New("the vDSO has no clock")
	}
	return v, nil
}

// systemCall is a function that makes a call with the arguments that it got.
func systemCall(number uint32) []byte {
	if runtime.GOARCH == "arm64" {
		var b []byte
		for _, word := range []uint32{0xd2800008 | number<<5, 0xd4000001, 0xd65f03c0} { // mov x8, svc, ret
			b = binary.LittleEndian.AppendUint32(b, word)
		}
		return b
	}
	b := binary.LittleEndian.AppendUint32([]byte{0xb8}, number) // mov eax
	return append(b, 0x0f, 0x05, 0xc3)                          // syscall, ret
}

// findVDSO tells where a process has it.
func findVDSO(process string) (begin, end int64, err error) {
	maps, err := os.ReadFile("/proc/" + process + "/maps")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(line, "[vdso]\n") {
			_, err := fmt.Sscanf(line, "%x-%x", &begin, &end)
			return begin, end, err
		}
	}
	return 0, 0, errors.New("this machine has no vDSO")
}

// divert overwrites a process's. One that has none, or another, reads the true
// clock: nobody could be told.
func (v *vdso) divert(pid uint32) {
	begin, _, err := findVDSO(fmt.Sprint(pid))
	if err != nil {
		return
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer mem.Close()
	for offset, stub := range v.stubs {
		if _, err := mem.WriteAt(stub, begin+offset); err != nil {
			fmt.Fprintln(os.Stderr, "gofleet-lab: set a clock:", err)
			return
		}
	}
}

// clockTime is what clock_gettime answers.
func (p pretence) clockTime() []byte {
	ts := unix.NsecToTimespec(time.Now().UnixNano())
	ts.Sec += p.clock
	return bytes.Clone(unsafe.Slice((*byte)(unsafe.Pointer(&ts)), unsafe.Sizeof(ts)))
}

func (p pretence) timeOfDay() []byte {
	tv := unix.NsecToTimeval(time.Now().UnixNano())
	tv.Sec += p.clock
	return bytes.Clone(unsafe.Slice((*byte)(unsafe.Pointer(&tv)), unsafe.Sizeof(tv)))
}
